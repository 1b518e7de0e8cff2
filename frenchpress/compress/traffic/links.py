"""What stands between two stages of a pipeline, by the names that a `.cfg` has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from frenchpress.common import blaming
from frenchpress.compress.options import read_method
from frenchpress.compress.traffic.layers import Link, MultiStep, Qsgd, TopK


@dataclass(frozen=True, kw_only=True)
class TopKOptions:
    """What `TopK` takes."""

    ratio: Fraction | float | str


@dataclass(frozen=True, kw_only=True)
class MultiStepOptions(TopKOptions):
    """What `MultiStep` takes."""

    partitions: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class QsgdOptions:
    """What `Qsgd` takes."""

    levels: int = 7
    bucket: int = 512


class Method(NamedTuple):
    """`options`: a dataclass of what a `.cfg` can say; `link`: what takes these."""

    options: type
    link: type[Link]


LINKS = {
    "multi_step": Method(MultiStepOptions, MultiStep),
    "top_k": Method(TopKOptions, TopK),
    "qsgd": Method(QsgdOptions, Qsgd),
}


def make_link(said: Mapping[str, Any] | None, where: str = "boundary") -> Link:
    """The link of `{method: multi_step, ratio: 1/4, partitions: 8, bits: 8}`; None: all is sent as float32.

    UserError, which begins with `where`, for what is wrong in it.
    """
    if said is None:
        return Link()
    name, options = read_method(said, {name: method.options for name, method in LINKS.items()}, where)
    with blaming(f"{where}: {name}"):
        return LINKS[name].link(**vars(options))
