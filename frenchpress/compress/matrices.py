"""The weights of torch's own modules that are matrices, or can be seen as such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


@dataclass(frozen=True)
class Matrix:
    """A weight of `module`, which the model calls `owner`, under the attribute `key`.

    Its first dimension are the rows, `gates` matrices one below the other.
    """

    owner: str
    module: nn.Module
    key: str
    gates: int = 1

    @property
    def name(self) -> str:
        """As in `state_dict` before the weight was pressed."""
        return f"{self.owner}.{self.key}".lstrip(".")

    @property
    def is_parametrized(self) -> bool:
        """Whether something, here or elsewhere, computes it from other parameters."""
        return parametrize.is_parametrized(self.module, self.key)

    @property
    def value(self) -> Tensor:
        """The weight as the module sees it."""
        return getattr(self.module, self.key)


def matrices_of(model: nn.Module) -> list[Matrix]:
    """The weights of all `Linear`, `Conv1d/2d/3d`, `LSTM`, `GRU`, `RNN` and `Embedding` modules in `model`."""
    return [Matrix(owner, module, *part) for owner, module in model.named_modules() for part in _parts(module)]


def _parts(module: nn.Module) -> Iterator[tuple[str, int]]:
    """Attribute and number of gates of each weight of one module."""
    if isinstance(module, (nn.Linear, nn.Embedding, *_CONVOLUTIONS)):
        yield "weight", 1
    for kind, gates in _GATES.items():
        if isinstance(module, kind):
            for suffix in _directions(module):
                yield from ((f"weight_{part}_{suffix}", gates) for part in ("ih", "hh"))
                if module.proj_size:
                    yield f"weight_hr_{suffix}", 1


def _directions(module: nn.RNNBase) -> Iterator[str]:
    for layer in range(module.num_layers):
        yield from (f"l{layer}", f"l{layer}_reverse")[: 1 + module.bidirectional]
