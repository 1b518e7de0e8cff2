"""Index codes side by side on a trained model: `python -m frenchpress.report.codes exp/<name>`.

Every matrix is written with every code and read back; what is listed are lengths of bytes. Writes codes.md and
codes.svg (with matplotlib) into the experiment's directory or another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchpress.arguments import parse
from frenchpress.common import UserError, atomic_path, run_main
from frenchpress.compress import PressedWeight
from frenchpress.compress.codes import (
    INDEX_CODES,
    Coding,
    decode,
    encode_parts,
    hcgs_bound,
    mask_bound,
    plain_value_code,
    value_entropy,
)
from frenchpress.compress.codes.index import IndexCode, Mask
from frenchpress.compress.size import matrix_codings
from frenchpress.nnet.model import load_model
from frenchpress.report import figure
from frenchpress.report.markdown import markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEGEND = """\
How to read a row

- A code that cannot hold every matrix has no row in the first table; why is said below the matrix.
- **options**: found as those with the fewest bits for this matrix; blocks of `hcgs` are those of the model.
- **index**: bytes of header and index. A mask that gates share is stored once; gates with masks of their own have a
  header, an index and values each.
- **fixed**, **Huffman**: bytes of everything, header, index, scales and values, these with a fixed number of bits each
  or by a Huffman code whose table is counted. Fixed are the bits that size.yaml charges: integers that do not fit them
  are written as places in a table of levels (`codebook`), counted too, and the matrix says so. Each was read back to
  the identical integers and the identical mask.
- **bits per kept weight**: all bytes of the smaller of the two, in bits, over kept weights.
- **ratio**: bytes of the dense float32 matrix over bytes stored.
- **index / bound**: index over log2 C(weights, kept), what a code for any mask of so many weights needs on average.
  Below 1 a code makes use of a structure that the mask has.
"""

VALUES = ("fixed", "huffman")
"""How values are written: with a fixed number of bits each, or not."""


@dataclass(frozen=True)
class CodeSize:
    """Bytes of one matrix, or of several together, in one code; `totals`, scales included, of each of `VALUES`.

    `index`: with headers, in whole bytes. `index_bits`: without, which is what `size.yaml` counts.
    """

    code: str
    options: str
    index: int
    index_bits: int
    totals: dict[str, int]

    @property
    def smallest(self) -> int:
        """Bytes with the better value code."""
        return min(self.totals.values())


@dataclass(frozen=True)
class MatrixCodes:
    """One matrix in every code that can hold it; `refused` has the reasons of the others. Bounds are in bytes.

    `plain`: the value code behind `fixed`.
    """

    name: str
    shape: tuple[int, int]
    kept: int
    scales: int
    bound: float
    structure_bound: float | None
    entropy: float
    sizes: list[CodeSize]
    plain: str
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def dense(self) -> int:
        """Bytes as float32."""
        return 4 * self.shape[0] * self.shape[1]


def compare(name: str, matrix: PressedWeight) -> MatrixCodes:
    """Encode a matrix with every index and value code; UserError for a float one."""
    if matrix.quantizer.is_float:
        raise UserError(_float_line(name))
    integers = matrix.to_written(matrix.weight.detach()).cpu().numpy()
    kept = integers if matrix.mask is None else integers[matrix.full_mask().cpu().numpy()]
    quantizer = matrix.quantizer
    # A table of levels is a part of the values here, as the code of values writes it.
    scales = -(-(quantizer.side_bits(*matrix.shape) - quantizer.table_bits) // 8)
    plain = plain_value_code(kept, quantizer.stored_bits)
    found, refused = matrix_codings(matrix)
    return MatrixCodes(
        name,
        matrix.shape,
        kept.size,
        scales,
        # Every mask has a bitmap.
        sum(mask_bound(mask) for mask, _ in found["bitmap"].streams) / 8,
        _structure_bound(found.get("hcgs")),
        value_entropy(kept) / 8,
        [_measure(integers, coding, plain, quantizer.stored_bits, scales) for coding in found.values()],
        plain,
        refused,
    )


def _float_line(name: str) -> str:
    return f"{name}: float weights have no integers to encode; quantize them with weight_bits below 32"


def _structure_bound(coding: Coding | None) -> float | None:
    """Bytes of the choices that HCGS had; None for other matrices."""
    return None if coding is None else sum(hcgs_bound(mask, code.blocks) for mask, code in coding.streams) / 8


def _measure(integers: NDArray[np.int64], coding: Coding, plain: str, bits: int, scales: int) -> CodeSize:
    totals, index = {}, 0
    for values, value_code in zip(VALUES, (plain, "huffman")):
        parts = [encode_parts(*part, value_code, bits) for part in _parts(integers, coding)]
        totals[values] = sum(len(part.data) for part in parts) + scales
        index = sum(len(part.header) + len(part.index) for part in parts)
        back = [decode(part.data) for part in parts]
        same = np.array_equal(np.concatenate([one for one, _ in back]), integers)
        if not same or not all(np.array_equal(one, mask) for (_, one), (mask, _) in zip(back, coding.streams)):
            raise AssertionError(f"{coding.name}, {value_code}: not read back as written")
    return CodeSize(coding.name, _options(coding), index, coding.bits, totals)


def _parts(integers: NDArray[np.int64], coding: Coding) -> Iterator[tuple[NDArray[np.int64], Mask, IndexCode]]:
    """Integers, mask and code of each stream; a mask that gates share has the integers of all of them."""
    copies, top = len(integers) // max(1, sum(len(mask) for mask, _ in coding.streams)), 0
    for mask, code in coding.streams:
        yield integers[top : top + copies * len(mask)], mask, code
        top += copies * len(mask)


def _options(coding: Coding) -> str:
    """The options of the code, of each stream where they differ."""
    return " / ".join(dict.fromkeys(code.options for _, code in coding.streams))


def together(matrices: Sequence[MatrixCodes]) -> list[CodeSize]:
    """Sums over all matrices, for the codes that hold them all."""
    sums = []
    for code in INDEX_CODES:
        found = [size for matrix in matrices for size in matrix.sizes if size.code == code]
        if len(found) == len(matrices):
            totals = {values: sum(size.totals[values] for size in found) for values in VALUES}
            index, bits = sum(size.index for size in found), sum(size.index_bits for size in found)
            sums.append(CodeSize(code, "", index, bits, totals))
    return sums


def code_table(sizes: Sequence[CodeSize], kept: int, dense: int, bound: float) -> list[str]:
    """Markdown lines, a row per code, the smallest first. `dense` and `bound` in bytes."""
    head = [
        "code",
        "options",
        "index",
        "fixed",
        "Huffman",
        "bits per kept weight",
        "ratio, fixed",
        "ratio, Huffman",
        "index / bound",
    ]
    rows = []
    for size in sorted(sizes, key=lambda s: s.smallest):
        rows.append(
            [
                size.code,
                size.options,
                str(size.index),
                *(str(size.totals[values]) for values in VALUES),
                f"{8 * size.smallest / kept:.3f}" if kept else "-",
                *(f"{dense / size.totals[values]:.2f}x" for values in VALUES),
                f"{size.index / bound:.3f}" if bound > 0 else "-",
            ]
        )
    return markdown(head, rows)


def _matrix_text(matrix: MatrixCodes) -> list[str]:
    rows, columns = matrix.shape
    structure = "" if matrix.structure_bound is None else f" (of its HCGS structure: {matrix.structure_bound:.1f})"
    facts = (
        f"{rows} x {columns}, {matrix.kept} kept. Bytes: float32 {matrix.dense}, scales {matrix.scales}, entropy bound "
        f"of the mask {matrix.bound:.1f}{structure}, zeroth-order entropy of the values {matrix.entropy:.1f}."
    )
    if matrix.plain != "fixed":
        facts += f" Fixed values are written as `{matrix.plain}`."
    lines = [f"## {matrix.name}", "", facts, ""]
    lines += code_table(matrix.sizes, matrix.kept, matrix.dense, matrix.bound)
    refused = [f"- {reason}" for reason in matrix.refused.values()]
    return [*lines, "", *refused, ""] if refused else [*lines, ""]


def codes_text(name: str, matrices: Sequence[MatrixCodes], floats: Sequence[str]) -> str:
    """All of codes.md."""
    kept, dense = sum(m.kept for m in matrices), sum(m.dense for m in matrices)
    bound = sum(m.bound for m in matrices)
    lines = [f"# Index codes on {name}", "", f"## All {len(matrices)} matrices", ""]
    lines += [f"{kept} weights kept. Bytes: float32 {dense}, entropy bound of the masks {bound:.1f}.", ""]
    lines += [*code_table(together(matrices), kept, dense, bound), ""]
    lines += [*(f"- not counted: {line}" for line in floats), ""] if floats else []
    for matrix in matrices:
        lines += _matrix_text(matrix)
    return "\n".join([*lines, LEGEND])


def codes_picture(name: str, matrices: Sequence[MatrixCodes]) -> figure.Draw:
    """What draws codes.svg: a bar per code over all matrices, with the value code that is the smaller."""
    dense, scales = sum(m.dense for m in matrices), sum(m.scales for m in matrices)
    sizes = sorted(together(matrices), key=lambda s: s.smallest)
    parts = {
        "values": [size.smallest - size.index - scales for size in sizes],
        "scales": [scales] * len(sizes),
        "index": [size.index for size in sizes],
    }

    def draw(axes: Axes) -> None:
        left = np.zeros(len(sizes))
        for part, widths in parts.items():
            bars = axes.barh(range(len(sizes)), widths, left=left, label=part)
            left += widths
        axes.bar_label(bars, [f"{s.smallest / 1e3:.1f} kB, {dense / s.smallest:.1f}x" for s in sizes], padding=4)
        names = [f"{s.code}, {min(s.totals, key=lambda key: s.totals[key])}" for s in sizes]
        axes.set_yticks(range(len(sizes)), names)
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.set(title=f"{name}: bytes of all matrices, by index code", xlabel="bytes")
        axes.figure.legend(loc="outside right upper", frameon=False)

    return draw


def compare_model(directory: Path) -> tuple[list[MatrixCodes], list[str]]:
    """Every integer matrix of a trained model in every code, and a line for each float one."""
    matrices, floats = [], []
    for name, module in load_model(directory).named_modules():
        if not isinstance(module, PressedWeight):
            continue
        if module.quantizer.is_float:
            floats.append(_float_line(name))
        else:
            matrices.append(compare(name, module))
    if not matrices:
        raise UserError(f"{directory}: all weights are float and have no integers to encode; use weight_bits below 32")
    return matrices, floats


def main() -> None:
    """Command line."""
    args = parse("codes")
    name, out = args.experiment.resolve().name, args.out or args.experiment
    matrices, floats = compare_model(args.experiment)
    text = codes_text(name, matrices, floats)
    with atomic_path(out / "codes.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text, end="")
    if figure.available():
        figure.save(out / "codes.svg", codes_picture(name, matrices), (9, 1.5 + 0.3 * len(INDEX_CODES)))
    else:
        print(figure.HOW_TO_GET)


if __name__ == "__main__":
    run_main(main)
