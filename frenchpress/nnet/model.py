"""The acoustic model: spliced features, LSTM layers, a head for tied states and one for monophones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frenchpress.common import UserError, blaming
from frenchpress.compress.quantizers import name_quantizers
from frenchpress.config import Config, config_from_dict, layer_presses
from frenchpress.config.load import HEADS
from frenchpress.nnet import FINAL
from frenchpress.nnet.data import Frames, splice
from frenchpress.nnet.linear import PressedLinear
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.units import Units, is_cell_plan, link


@dataclass(frozen=True)
class Sizes:
    """What the task, and not the configuration, decides: features in, tied states and phones out."""

    feat_dim: int
    num_pdfs: int
    num_phones: int


class AcousticModel(nn.Module):
    """LSTM acoustic model after `config`; each layer is compressed as `config.compress` says.

    Structure of Kadetotad et al. (JSSC 2020): spliced features, batch-normalised input projections,
    unidirectional LSTM, two softmax heads trained jointly (the second one as in Bell & Renals, ICASSP 2015).
    UserError when what `config` asks for does not fit the matrices.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        self.offsets = config.model.offsets
        inputs = len(self.offsets) * sizes.feat_dim
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_scale", torch.ones(inputs))
        presses, lstm = layer_presses(config), config.model.lstm
        self.lstm = nn.ModuleDict()
        # What an LSTM gives lies within one; dropout scales up what it leaves.
        limit = 1.0 / (1.0 - lstm.dropout)
        for i, name in enumerate(list(presses)[: lstm.layers]):
            with blaming(f"compress: {name}"):
                self.lstm[name] = QuantLSTMLayer(
                    inputs if i == 0 else lstm.cells,
                    lstm.cells,
                    presses[name],
                    batch_norm=lstm.batch_norm,
                    dropout=lstm.dropout,
                    dropout_over=lstm.dropout_over,
                    input_limit=None if i == 0 else limit,
                    generator=_generator(config.seed, i),
                )
        for i, (name, outputs) in enumerate((("head_cd", sizes.num_pdfs), ("head_mono", sizes.num_phones))):
            with blaming(f"compress: {name}"):
                generator = _generator(config.seed, lstm.layers + i)
                setattr(self, name, PressedLinear(lstm.cells, outputs, presses[name], limit, generator))
        for layer in self.lstm.values():
            layer.watches_movement = bool(config.train.movement)
        self.units = self._link_units()
        name_quantizers(self)

    def _link_units(self) -> list[Units]:
        """The LSTM cells that are removed as such, with the matrices that make and read them."""
        heads, layers, found = [self.head_cd.matrix, self.head_mono.matrix], list(self.lstm.items()), []
        for name, head in zip(HEADS, heads):
            if is_cell_plan(head.plan):
                raise UserError(f"compress: {name}: mask: cell: only an LSTM layer has cells; use row or column")
        for i, (name, layer) in enumerate(layers):
            after = [layers[i + 1][1].input_matrix] if i + 1 < len(layers) else heads
            with blaming(f"compress: {name}"):
                found.append(link([layer.input_matrix, layer.recurrent_matrix], [layer.recurrent_matrix, *after]))
        return [units for units in found if units is not None]

    def movement(self) -> Tensor | None:
        """What the layers' outputs moved in the last call in training, a sum over layers []; None: not watched."""
        moved = [layer.moved for layer in self.lstm.values() if layer.moved is not None]
        return torch.stack(moved).sum() if moved else None

    @property
    def constants(self) -> int:
        """Numbers that are stored beside what is trained: mean and gain of each feature."""
        return 2 * self.sizes.feat_dim

    def normalise_inputs(self, frames: Frames) -> None:
        """Bring every input to mean 0, deviation 1 over `frames`; kept with the model."""
        mean, deviation = frames.moments()
        repeat = len(self.offsets)
        self.input_mean.copy_(mean.float().repeat(repeat))
        self.input_scale.copy_(deviation.clamp(min=1e-5).reciprocal().float().repeat(repeat))

    def normalised(self, inputs: Tensor) -> Tensor:
        """Spliced features [..., I] at mean 0, deviation 1."""
        return (inputs - self.input_mean) * self.input_scale

    def hidden(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Spliced features [B, T, I] -> the last LSTM layer's output at the real frames [sum(lengths), H]."""
        x = self.normalised(inputs)
        for layer in self.lstm.values():
            x = layer(x, lengths)
        return x[real_frames(x, lengths)]

    def forward(self, inputs: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Spliced features [B, T, I] and lengths int64 [B] -> logits of the real frames, piece after piece.

        `cd`: [sum(lengths), num_pdfs], `mono`: [sum(lengths), num_phones].
        """
        return self.heads(self.hidden(inputs, lengths))

    def heads(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the last LSTM layer [N, H] -> logits, as `forward` gives them."""
        return {"cd": self.head_cd(x), "mono": self.head_mono(x)}

    @torch.no_grad()
    def batch_log_posteriors(self, utterances: list[Tensor], head: str = "cd") -> list[Tensor]:
        """Features float32 [T, D] each -> log posteriors of tied states, or (`mono`) of phones, [T, classes] each."""
        self.eval()
        lengths = torch.tensor([len(feats) for feats in utterances], device=self.input_mean.device)
        feats = torch.cat(utterances).to(self.input_mean.device)
        first = (lengths.cumsum(0) - lengths).unsqueeze(1)
        last = first + lengths.unsqueeze(1) - 1
        frames = first + torch.arange(int(lengths.max()), device=first.device)
        inputs = splice(feats, frames.minimum(last), first, last, self.offsets)
        logits = {"cd": self.head_cd, "mono": self.head_mono}[head](self.hidden(inputs, lengths))
        return list(logits.log_softmax(-1).split(lengths.tolist()))

    def log_posteriors(self, feats: Tensor) -> Tensor:
        """Features of one utterance, float32 [T, D] -> log posteriors of the tied states [T, num_pdfs]."""
        return self.batch_log_posteriors([feats])[0]

    def description(self) -> dict[str, Any]:
        """The sizes as plain values, to keep beside the weights."""
        return asdict(self.sizes)


def real_frames(x: Tensor, lengths: Tensor) -> Tensor:
    """Bool [B, T]: the frames of `x` [B, T, ...] that lie within `lengths` [B]."""
    return torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)


def _generator(seed: int, layer: int) -> torch.Generator:
    """Each layer draws its mask and weights by itself, so that what is done to one leaves the others alone."""
    state = np.random.SeedSequence([seed, layer]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def read_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A file of tensors and plain values; code in it is never run. UserError if missing or damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; has the model been trained?") from None
    except Exception as error:
        raise UserError(f"{path}: not a whole model file ({str(error).splitlines()[0]})") from None


def not_finite(model: nn.Module) -> str | None:
    """The first tensor of `model` with a number that is not finite, and how many it has; None where there is none."""
    for name, tensor in model.state_dict().items():
        bad = int((~tensor.isfinite()).sum())
        if bad:
            return f"{name}: {bad} of {tensor.numel()} numbers are NaN or infinite"
    return None


def load_model(directory: Path | str, device: torch.device | str = "cpu") -> AcousticModel:
    """The trained model in an experiment's directory, ready to be evaluated; UserError if there is none."""
    path = Path(directory) / FINAL
    saved = read_weights(path, device)
    try:
        config = config_from_dict(saved["config"], str(path))
        with blaming(path):
            model = AcousticModel(config, Sizes(**saved["sizes"]))
        model.load_state_dict(saved["model"])
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: not a model of this program ({str(error).splitlines()[0]})") from None
    bad = not_finite(model)
    if bad:
        raise UserError(f"{path}: {bad}; train it again")
    return model.to(device).eval()
