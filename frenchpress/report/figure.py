"""Figures by matplotlib, where it is installed; those of studies are drawn without it (svg.py)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from frenchpress.common import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_GET = "no figures: matplotlib is not installed (pip install -e '.[plot]')"


def available() -> bool:
    """Whether there is matplotlib."""
    return importlib.util.find_spec("matplotlib") is not None


def save(path: Path, draw: Callable[[Axes], None], size: tuple[float, float] = (7, 4.5)) -> Path:
    """Draw on one pair of axes of `size` inches and write a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
    return path
