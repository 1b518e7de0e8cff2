"""Packages that only this room needs, and only when it is used."""

from __future__ import annotations

import importlib
from types import ModuleType

from frenchpress.common import UserError


def require(name: str) -> ModuleType:
    """The module `name`; UserError, with the way to install it, where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name} cannot be imported ({error}); pip install -e '.[export]' in the checkout") from None
