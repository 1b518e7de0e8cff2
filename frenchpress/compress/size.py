"""What a compressed model takes: bits of weights, index and scales, counted matrix by matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from frenchpress.common.bits import BitWriter
from frenchpress.compress.chain import Chain
from frenchpress.compress.codes import Coding, Origin, cheapest, index_codings
from frenchpress.compress.codes.values import VALUE_CODES
from frenchpress.compress.factors import FactoredWeight
from frenchpress.compress.options import FLOAT_BITS
from frenchpress.compress.weight import PressedTensor, learned_ranges, pressed_tensors


@dataclass(frozen=True)
class MatrixSize:
    """Size of one matrix. Bits are totals over the matrix except `weight_bits`, which is per kept weight.

    `asked_density` is the one that the options name, `density` the realised one. A mask that several gates
    share is indexed once. `scale_bits`: of scales, zero points and tables. `index_code`: the code that the index is
    counted in, None without a mask. One multiply-accumulate per frame belongs to each weight.
    """

    name: str
    rows: int
    columns: int
    kept: int
    asked_density: float
    weight_bits: int
    index_bits: int
    scale_bits: int
    index_code: str | None = None

    @property
    def total(self) -> int:
        """Weights of the dense matrix; also its multiply-accumulates per frame."""
        return self.rows * self.columns

    @property
    def density(self) -> float:
        """Kept over all weights."""
        return self.kept / self.total

    @property
    def value_bits(self) -> int:
        """Bits of the kept weights, which is what the value codes `fixed` and `codebook` write of them."""
        return self.kept * self.weight_bits

    @property
    def stored_bits(self) -> int:
        """Values, index and scales together."""
        return self.value_bits + self.index_bits + self.scale_bits

    @property
    def dense_bits(self) -> int:
        """Bits of the dense float32 matrix."""
        return 32 * self.total

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a YAML file."""
        return {
            "name": self.name,
            "shape": [self.rows, self.columns],
            "kept": self.kept,
            "density": self.density,
            "asked_density": self.asked_density,
            "weight_bits": self.weight_bits,
            "value_bits": self.value_bits,
            "index_bits": self.index_bits,
            **({} if self.index_code is None else {"index_code": self.index_code}),
            "scale_bits": self.scale_bits,
            "stored_bytes": bytes_of(self.stored_bits),
            "dense_bytes": bytes_of(self.dense_bits),
            "macs_dense": self.total,
            "macs_kept": self.kept,
        }


def bytes_of(bits: int) -> int:
    """Whole bytes that hold so many bits."""
    return -(-bits // 8)


def matrix_codings(matrix: Chain) -> tuple[dict[str, Coding], dict[str, str]]:
    """The mask of a matrix in every index code that can hold it, by name; and why each other code cannot.

    A mask that gates share is one stream, and so are the masks of gates that were thinned in one that they share; with
    masks of their own each gate has one.
    """
    if matrix.mask is None:
        return index_codings([np.ones(matrix.shape, np.bool_)], [Origin()])
    rows, method = matrix.shape[0] // matrix.gates, matrix.outline_method
    masks = [mask.numpy() for mask in matrix.mask.cpu().split(rows)]
    origin = Origin() if method is None else method.origin
    if method is None or matrix.within is None:
        return index_codings(masks, [origin] * len(masks))
    layers = [layer.numpy() for layer in matrix.within.cpu().split(rows)]
    if all(np.array_equal(layer, layers[0]) for layer in layers):
        masks, layers = [np.concatenate(masks)], layers[:1]
    return index_codings(masks, [Origin(structure=layer, structure_origin=origin) for layer in layers])


def matrix_size(name: str, matrix: Chain) -> MatrixSize:
    """Size of a compressed matrix as it stands."""
    rows, columns = matrix.shape
    quantizer, mask = matrix.quantizer, matrix.mask
    kept, index, code = rows * columns, 0, None
    if mask is not None:
        kept = int(mask.sum()) * (rows // mask.shape[0])
        coding = cheapest(matrix_codings(matrix)[0])
        index, code = coding.bits, coding.name
    return MatrixSize(
        name,
        rows,
        columns,
        kept,
        matrix.asked_density,
        quantizer.stored_bits,
        index,
        quantizer.side_bits(rows, columns),
        code,
    )


def huffman_gain(tensor: PressedTensor) -> int:
    """Bits that a Huffman code of the values, its table counted, saves over codes of equal length; at least 0."""
    chain = tensor.chain
    if chain.quantizer.is_float:
        return 0
    written, mask = chain.to_written(tensor.matrix.detach()), chain.full_mask()
    kept, out = (written if mask is None else written[mask]).flatten().cpu().numpy(), BitWriter()
    VALUE_CODES["huffman"].write(kept, 0, out)
    return max(0, kept.size * chain.quantizer.stored_bits + chain.quantizer.table_bits - out.bits)


def plain_size(name: str, weight: Tensor) -> MatrixSize:
    """Size of a matrix [out, ...] that nothing compresses."""
    return MatrixSize(name, len(weight), weight[0].numel(), weight.numel(), 1.0, FLOAT_BITS, 0, 0)


def size_report(model: nn.Module, constants: int = 0, huffman: bool = False) -> dict[str, Any]:
    """Size of all matrices of `model`, compressed or not, and of what else it stores, as plain numbers.

    A matrix is every parameter of two dimensions or more. `compression_ratio`: bits of the dense float32 matrices over
    bits stored with index and scales; `weight_ratio`: weights over kept weights. Both leave out biases and batch norm,
    which `stored_bytes` and `parameters` count as float32; a batch norm counts as the gain and bias per row into which
    it folds. `constants`: numbers that the model stores and does not train, counted in `other_bytes` as float32. A
    learned step size is the scale of its matrix and counts as that; ranges of activations are counted nowhere.
    Two factors are two matrices, and dense they are the one that they stand for. `huffman`: also `huffman_bytes`, which
    `stored_bytes` would be with a Huffman code of values where it is shorter.
    """
    pressed = pressed_tensors(model)
    sizes = [matrix_size(p.name, p.chain) for p in pressed]
    elsewhere = {id(p.weight) for p in pressed} | {id(p) for p in learned_ranges(model)}
    rest = [(name, p) for name, p in model.named_parameters() if id(p) not in elsewhere]
    sizes += [plain_size(name, p) for name, p in rest if p.dim() > 1]
    others = sum(p.numel() for _, p in rest if p.dim() <= 1)
    kept, total = sum(s.kept for s in sizes), sum(s.total for s in sizes)
    total += sum(m.saved for m in model.modules() if isinstance(m, FactoredWeight))
    stored, dense = sum(s.stored_bits for s in sizes), FLOAT_BITS * total
    other_bytes = 4 * (others + constants)
    gain = sum(map(huffman_gain, pressed)) if huffman else 0
    return {
        "parameters": total + others,
        "kept": kept,
        "density": kept / total if total else 1.0,
        "stored_bytes": bytes_of(stored) + other_bytes,
        **({"huffman_bytes": bytes_of(stored - gain) + other_bytes} if huffman else {}),
        "dense_bytes": bytes_of(dense) + other_bytes,
        "matrix_bytes": bytes_of(stored),
        "other_bytes": other_bytes,
        "compression_ratio": dense / stored if stored else 1.0,
        "weight_ratio": total / kept if kept else 1.0,
        "macs_dense": total,
        "macs_kept": kept,
        "matrices": [s.as_dict() for s in sizes],
    }
