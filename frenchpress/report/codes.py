"""Index codes side by side on a trained model: `python -m frenchpress.report.codes exp/<name>`.

Every matrix is written with every code and read back; what is listed are lengths of bytes. Writes codes.md and
codes.svg into the experiment's directory or another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_path, run_main
from frenchpress.compress import PressedWeight
from frenchpress.compress.codes import (
    INDEX_CODES,
    IndexCode,
    decode,
    encode_parts,
    hcgs_bound,
    make_index_code,
    mask_bound,
    plain_value_code,
    value_entropy,
)
from frenchpress.nnet.model import load_model
from frenchpress.report.bars import Bar, bars_svg
from frenchpress.report.table import markdown

LEGEND = """\
How to read a row

- A code that cannot hold every matrix has no row in the first table; why is said below the matrix.
- **options**: found as those with the fewest bits for this matrix; blocks of `hcgs` are those of the model.
- **index**: bytes of header and index. A mask that gates share is stored once.
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
    """Bytes of one matrix, or of several together, in one code; `totals`, scales included, of each of `VALUES`."""

    code: str
    options: str
    index: int
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
    integers = matrix.integers()[0].cpu().numpy()
    mask = np.ones(integers.shape, np.bool_) if matrix.mask is None else matrix.mask.cpu().numpy()
    kept = integers[np.tile(mask, (len(integers) // len(mask), 1))]
    quantizer, rows = matrix.quantizer, integers.shape[0]
    scales = -(-quantizer.scales_stored(rows) * quantizer.scale_bits // 8)
    stacked = len(mask) // (rows // matrix.gates)
    plain = plain_value_code(kept, quantizer.stored_bits)
    sizes, refused = [], {}
    for code in INDEX_CODES:
        try:
            fitted = _index_code(code, _sides(matrix), stacked).fit(mask)
            sizes.append(_measure(integers, mask, fitted, plain, quantizer.stored_bits, scales))
        except UserError as error:
            refused[code] = str(error)
    return MatrixCodes(
        name,
        matrix.shape,
        kept.size,
        scales,
        mask_bound(mask) / 8,
        _structure_bound(mask, _sides(matrix), stacked),
        value_entropy(kept) / 8,
        sizes,
        plain,
        refused,
    )


def _float_line(name: str) -> str:
    return f"{name}: float weights have no integers to encode; press them with weight_bits below 32"


def _sides(matrix: PressedWeight) -> tuple[int, ...]:
    """Of the blocks of each level; none where the mask is no hierarchy of square blocks."""
    return tuple(side for side, _ in matrix.hierarchy)


def _index_code(name: str, sides: tuple[int, ...], stacked: int) -> IndexCode:
    if name != "hcgs":
        return make_index_code(name)
    if not sides:
        raise UserError("index code hcgs: the matrix was not made with HCGS")
    return make_index_code(name, blocks=sides, stacked=stacked)


def _structure_bound(mask: NDArray[np.bool_], sides: tuple[int, ...], stacked: int) -> float | None:
    """Bytes of the choices that HCGS had; None for other matrices."""
    return sum(hcgs_bound(part, sides) for part in np.split(mask, stacked)) / 8 if sides else None


def _measure(
    integers: NDArray[np.int64], mask: NDArray[np.bool_], code: IndexCode, plain: str, bits: int, scales: int
) -> CodeSize:
    totals, index = {}, 0
    for values, value_code in zip(VALUES, (plain, "huffman")):
        parts = encode_parts(integers, mask, code, value_code, bits)
        back, back_mask = decode(parts.data)
        if not (np.array_equal(back, integers) and np.array_equal(back_mask, mask)):
            raise AssertionError(f"{code.name}, {value_code}: not read back as written")
        totals[values] = len(parts.data) + scales
        index = len(parts.header) + len(parts.index)
    return CodeSize(code.name, code.options, index, totals)


def together(matrices: Sequence[MatrixCodes]) -> list[CodeSize]:
    """Sums over all matrices, for the codes that hold them all."""
    sums = []
    for code in INDEX_CODES:
        found = [size for matrix in matrices for size in matrix.sizes if size.code == code]
        if len(found) == len(matrices):
            totals = {values: sum(size.totals[values] for size in found) for values in VALUES}
            sums.append(CodeSize(code, "", sum(size.index for size in found), totals))
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


def codes_picture(name: str, matrices: Sequence[MatrixCodes]) -> str:
    """codes.svg: a bar per code over all matrices, with the value code that is the smaller."""
    dense, scales = sum(m.dense for m in matrices), sum(m.scales for m in matrices)
    bars = []
    for size in sorted(together(matrices), key=lambda s: s.smallest):
        parts = (size.smallest - size.index - scales, scales, size.index)
        text = f"{size.smallest / 1e3:.1f} kB, {dense / size.smallest:.1f}x"
        values = min(size.totals, key=lambda key: size.totals[key])
        bars.append(Bar(f"{size.code}, {values}", parts, text))
    return bars_svg(f"{name}: bytes of all matrices, by index code", ("values", "scales", "index"), bars)


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
    parser = argparse.ArgumentParser(description="Compare all index codes on a trained model.")
    parser.add_argument("experiment", type=Path, help="exp/<name>, with its final.pt")
    parser.add_argument("--out", type=Path, help="directory for codes.md and codes.svg (the experiment's)")
    args = parser.parse_args()
    name, out = args.experiment.resolve().name, args.out or args.experiment
    matrices, floats = compare_model(args.experiment)
    text = codes_text(name, matrices, floats)
    for file, content in (("codes.md", text), ("codes.svg", codes_picture(name, matrices))):
        with atomic_path(out / file) as temporary:
            temporary.write_text(content, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    run_main(main)
