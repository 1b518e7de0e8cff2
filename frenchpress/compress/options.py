"""What is done to one weight, as data, and how the options of a method are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, get_args, get_type_hints

from frenchpress.common import UserError, blaming, unknown

FLOAT_BITS = 32


def check_bits(bits: int, what: str) -> None:
    """UserError unless `bits` is a whole number in 1..32."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= FLOAT_BITS:
        raise UserError(f"{what}: {bits!r} is not a number of bits; use 1 to 32 (32: float)")


def rarely() -> Any:
    """A field that is left out of a configuration written down while nothing is said in it."""
    return field(default=None, metadata={"rare": True})


@dataclass(frozen=True)
class WeightPress:
    """How one weight, and what it multiplies, is compressed. 32 bits mean float.

    `quantizer`: name in the weight quantizer registry. `act_quantizer`: name in that of activations, `fixed` (static
    scale) or `dynamic` (maximum of the tensor at each call) or a learned one. Names, and the options that go with
    them, are checked as the weight is pressed. `mask`: what is kept, the mask's method and what that takes
    (frenchpress.compress.sparsity). `prune`: magnitude pruning of what a drawn `mask` keeps, or of all weights: the
    share that is left, and when. `admm`: what the weight is pulled towards while it trains (frenchpress.compress.admm).
    `masks`: methods that only such a press has, beside those of every weight.
    """

    masks: ClassVar[Mapping[str, type]] = {}

    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    quantizer: str = "uniform"
    act_quantizer: str = "fixed"
    quantizer_options: dict[str, Any] | None = rarely()
    act_options: dict[str, Any] | None = rarely()
    mask: dict[str, Any] | None = rarely()
    prune: dict[str, Any] | None = rarely()
    admm: dict[str, Any] | None = rarely()

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.act_bits, "act_bits")
        if self.mask is not None and not isinstance(self.mask, Mapping):
            raise UserError(f"mask: expected a table such as {{method: magnitude, keep: 1/4}}, got {self.mask!r:.40}")

    @property
    def said_mask(self) -> Mapping[str, Any] | None:
        """What is said of the mask, in the form of `mask`."""
        return self.mask


@dataclass(frozen=True)
class Press(WeightPress):
    """How a weight of any module is compressed, what the module is given, and what it gives.

    `act_bits`: of the module's input; `output_bits`: of its output, quantized as `act_quantizer` says.
    """

    output_bits: int = FLOAT_BITS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self.output_bits, "output_bits")

    @property
    def activations(self) -> tuple[Any, ...]:
        """All that is said of input and output."""
        return self.act_bits, self.output_bits, self.act_quantizer, self.act_options


def bit_range(takes: range) -> str:
    """`4 bits` or `2 to 6 bits`."""
    if len(takes) == 1:
        return f"{takes[0]} bit{'s' if takes[0] > 1 else ''}"
    return f"{takes[0]} to {takes[-1]} bits"


@dataclass(frozen=True)
class NoOptions:
    """Of a method that has none."""


def read_method_options(kind: type, values: dict[str, Any], where: str) -> Any:
    """An instance of the options dataclass `kind`; UserError for unknown names, wrong types, what `kind` refuses.

    `where` begins the error: `quantizer_options: lsq`.
    """
    all_hints = get_type_hints(kind)
    hints = {f.name: all_hints[f.name] for f in fields(kind)}
    for name, value in values.items():
        if name not in hints:
            problem = unknown(name, hints, "option ") if hints else f"unknown option {name!r}; it takes no options"
            raise UserError(f"{where}: {problem}")
        if not _fits(value, hints[name]):
            wanted = " or ".join(t.__name__ for t in _alternatives(hints[name]) if t is not type(None))
            raise UserError(f"{where}: {name}: {value!r} is no {wanted}")
    with blaming(where):
        return kind(**values)


def read_method(said: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> tuple[str, Any]:
    """Name and options of `{method: top_k, ratio: 1/16}`, where `kinds` has a dataclass of options for each name.

    UserError, which begins with `where`, for what is wrong in it.
    """
    values = {key: value for key, value in said.items() if value is not None}
    name = values.pop("method", None)
    if name is None:
        raise UserError(f"{where}: method is missing; use one of {', '.join(kinds)}")
    if not isinstance(name, str) or name not in kinds:
        raise UserError(f"{where}.method: {unknown(name, kinds)}")
    missing = [f.name for f in fields(kinds[name]) if f.default is MISSING and f.name not in values]
    if missing:
        example = ", ".join(f"{key}: ..." for key in ("method", *missing)).replace("...", name, 1)
        raise UserError(f"{where}: {name}: {missing[0]} is missing; write {{{example}}}")
    return name, read_method_options(kinds[name], values, f"{where}: {name}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) or (hint,)


def _fits(value: Any, hint: Any) -> bool:
    kinds = _alternatives(hint)
    if isinstance(value, bool):  # an int to Python, not to the reader of a .cfg
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
