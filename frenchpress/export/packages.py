"""Packages that only this room needs, and only when it is used."""

from __future__ import annotations

import importlib
from types import ModuleType

from frenchpress.common import UserError

TVM = "0.27."
"""Version that the compiler is written for; from one to the next TVM renames what modules are built of."""


def require(name: str, extra: str = "export") -> ModuleType:
    """The module `name`; UserError, with the way to install it, where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name} cannot be imported ({error}); pip install -e '.[{extra}]' in the checkout") from None


def require_tvm() -> ModuleType:
    """TVM; UserError where it cannot be imported or is of another version."""
    tvm = require("tvm", "tvm")
    if not tvm.__version__.startswith(TVM):
        raise UserError(f"tvm {tvm.__version__}: expected {TVM}x; pip install -e '.[tvm]' in the checkout")
    return tvm
