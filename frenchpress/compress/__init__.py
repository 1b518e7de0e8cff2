"""Quantizers, masks and size accounting, for the weights of any torch model; knows neither speech nor LSTM."""

from frenchpress.compress.activations import ActQuantizer, act_quantizer_of, make_act_quantizer, refuse_unused_act
from frenchpress.compress.chain import Chain, asked_density
from frenchpress.compress.data_free import correct_bias, equalize, input_means, norm_means, norm_ranges
from frenchpress.compress.description import Description, describe
from frenchpress.compress.errors import tensor_errors, weight_errors
from frenchpress.compress.factorize import factorize, project_lstm
from frenchpress.compress.factors import FactoredWeight, Factors, Weight, low_rank, rank_of_energy
from frenchpress.compress.fixed_net import FixedPoint, fixed_point_of, fixed_table, use_fixed_point
from frenchpress.compress.model import bake, press, schedule
from frenchpress.compress.options import Press, WeightPress
from frenchpress.compress.quantizers import BitQuantizer, Quantizer, make_quantizer, quantizer_of
from frenchpress.compress.size import MatrixSize, size_report
from frenchpress.compress.sparsity import spelt_mask
from frenchpress.compress.structure import BlockStructure, Selection
from frenchpress.compress.weight import (
    PressedWeight,
    check_weight_press,
    holding,
    learned_ranges,
    pressed_tensors,
)

__all__ = [
    "ActQuantizer",
    "BitQuantizer",
    "BlockStructure",
    "Chain",
    "Description",
    "FactoredWeight",
    "FixedPoint",
    "Factors",
    "MatrixSize",
    "Press",
    "PressedWeight",
    "Quantizer",
    "Selection",
    "Weight",
    "WeightPress",
    "act_quantizer_of",
    "asked_density",
    "bake",
    "check_weight_press",
    "correct_bias",
    "describe",
    "equalize",
    "factorize",
    "fixed_point_of",
    "fixed_table",
    "holding",
    "input_means",
    "learned_ranges",
    "low_rank",
    "make_act_quantizer",
    "make_quantizer",
    "norm_means",
    "norm_ranges",
    "press",
    "pressed_tensors",
    "project_lstm",
    "quantizer_of",
    "rank_of_energy",
    "refuse_unused_act",
    "schedule",
    "size_report",
    "spelt_mask",
    "tensor_errors",
    "use_fixed_point",
    "weight_errors",
]
