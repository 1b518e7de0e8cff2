"""What the hand-written pictures share."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

COLOURS = ("#4a6fa5", "#c9a66b", "#7d8f69", "#9a5b4f", "#6b6b6b", "#8a6fa8", "#3d8f8f", "#b0507a")


def document(width: int, height: int, parts: Iterable[str]) -> str:
    """An SVG document of `parts` on white, sizes in pixels."""
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">'
    )
    return "\n".join([start, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, more: str = "") -> str:
    """`words` at (x, y); `more`: further attributes, with a space before each."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'
