"""Figures by matplotlib, where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from frenchpress.common import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], None]
"""What draws on a pair of axes."""
HOW_TO_GET = "no figures: matplotlib is not installed (pip install -e '.[plot]')"
# The same figure gives the same bytes, names of experiments are text and no formulas, letters look alike everywhere.
_SETTINGS = {"svg.hashsalt": "frenchpress", "svg.fonttype": "path", "text.parse_math": False}
_METADATA = {".svg": {"Date": None}, ".png": {"Software": None}}


def available() -> bool:
    """Whether there is matplotlib."""
    return importlib.util.find_spec("matplotlib") is not None


def save(path: Path, draw: Draw, size: tuple[float, float] = (7, 4.5)) -> Path:
    """Draw on one pair of axes of `size` inches and write `path`, a .png or .svg, whole or not at all."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120, metadata=_METADATA[path.suffix])
    return path
