"""Train LSTM acoustic models for phone recognition and make them small.

From Python: `frenchpress.load("exp/x").posteriors("a.wav")`, `frenchpress.Recogniser("model.press").phones("a.wav")`;
bad input raises `frenchpress.UserError`. docs/python.md has more.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frenchpress.common import UserError
    from frenchpress.export.api import Phone, Recogniser, load

# torch's threads spin while they wait for each other. On a machine shared with other work that takes the time away
# from whoever is waited for: a training step on two busy cores was four times slower. To be set before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = ["Phone", "Recogniser", "UserError", "load"]

# Found when first asked for: `import frenchpress` alone, as every command does it, must cost nothing.
_PLACES = {"UserError": "frenchpress.common"} | dict.fromkeys(("Phone", "Recogniser", "load"), "frenchpress.export.api")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'frenchpress' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
