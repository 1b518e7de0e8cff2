"""Quantizers, masks and size accounting; knows neither speech nor LSTM."""

from frenchpress.compress.activations import ActQuantizer, act_quantizer_of, make_act_quantizer, refuse_unused_act
from frenchpress.compress.masks import gate_mask, hcgs_mask
from frenchpress.compress.options import HcgsOptions, LayerPress, MatrixPress
from frenchpress.compress.quantizers import BitQuantizer, Quantizer, make_quantizer, quantizer_of
from frenchpress.compress.size import MatrixSize, size_report
from frenchpress.compress.sparsity import self_contained
from frenchpress.compress.structure import BlockStructure, Selection
from frenchpress.compress.weight import PressedWeight, asked_density, check_press, learned_ranges

__all__ = [
    "ActQuantizer",
    "BitQuantizer",
    "BlockStructure",
    "HcgsOptions",
    "LayerPress",
    "MatrixPress",
    "MatrixSize",
    "PressedWeight",
    "Quantizer",
    "Selection",
    "act_quantizer_of",
    "asked_density",
    "check_press",
    "gate_mask",
    "hcgs_mask",
    "learned_ranges",
    "make_act_quantizer",
    "make_quantizer",
    "quantizer_of",
    "refuse_unused_act",
    "self_contained",
    "size_report",
]
