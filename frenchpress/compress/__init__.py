"""Quantizers, masks and size accounting; knows neither speech nor LSTM."""

from frenchpress.compress.activations import ActQuantizer, make_act_quantizer
from frenchpress.compress.masks import gate_mask, hcgs_index_bits, hcgs_mask
from frenchpress.compress.options import HcgsOptions, LayerPress, parse_fraction
from frenchpress.compress.quantizers import Quantizer, make_quantizer
from frenchpress.compress.size import MatrixSize, size_report
from frenchpress.compress.structure import BlockStructure
from frenchpress.compress.weight import PressedWeight

__all__ = [
    "ActQuantizer",
    "BlockStructure",
    "HcgsOptions",
    "LayerPress",
    "MatrixSize",
    "PressedWeight",
    "Quantizer",
    "gate_mask",
    "hcgs_index_bits",
    "hcgs_mask",
    "make_act_quantizer",
    "make_quantizer",
    "parse_fraction",
    "size_report",
]
