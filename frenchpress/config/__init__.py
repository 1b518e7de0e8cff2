"""The schema of a `.cfg` as typed dataclasses; load, extend, override, check, print."""

from frenchpress.config.load import (
    blame_layer,
    config_differences,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    layer_names,
    layer_presses,
    load_config,
)
from frenchpress.config.press import LayerPress, MatrixPress
from frenchpress.config.schema import AugmentConfig, Config, DecodeConfig, LstmConfig, ModelConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "Config",
    "DecodeConfig",
    "LayerPress",
    "LstmConfig",
    "MatrixPress",
    "ModelConfig",
    "TrainConfig",
    "blame_layer",
    "config_differences",
    "config_from_dict",
    "config_to_dict",
    "config_to_yaml",
    "layer_names",
    "layer_presses",
    "load_config",
]
