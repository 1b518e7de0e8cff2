"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up in plain text too; the first column to the left, others to the right."""
    widths = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [t.rjust(w) if c else t.ljust(w) for c, (t, w) in enumerate(zip(cells, widths))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ":" if c else "-" * (w + 2) for c, w in enumerate(widths)) + "|"
    return [line(head), rule, *(line(row) for row in rows)]
