"""What workers that train one model must have in common, as plain values that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from itertools import chain

import torch
from torch import Tensor, nn

from frenchpress.kernels import native
from frenchpress.nnet.data import Frames


def programs() -> dict[str, str]:
    """What computes; other kernels round in other ways, and weights would drift apart."""
    built = "there" if native.library() is not None else "not there"
    return {"torch": str(torch.__version__), "frenchpress": version("frenchpress"), "compiled kernels": built}


def data(train: Frames, dev: Frames, model: nn.Module) -> dict[str, str]:
    """Digests of the frames, and of `model` before the first step; the means over all features are in it."""
    return {
        "utterances of train": _frames_digest(train),
        "utterances of dev": _frames_digest(dev),
        "features or first weights": _digest(model.state_dict().values()),
    }


def _frames_digest(frames: Frames) -> str:
    named = torch.frombuffer(bytearray("\n".join(frames.utts).encode()), dtype=torch.uint8)
    targets = (part for parts in frames.parts() for part in (parts.cd, parts.mono))
    return _digest(chain([named, torch.from_numpy(frames.lengths)], targets))


def _digest(tensors: Iterable[Tensor]) -> str:
    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(tensor.contiguous().numpy())
    return whole.hexdigest()[:16]
