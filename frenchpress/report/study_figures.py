"""The figures of a study."""

from __future__ import annotations

from collections.abc import Sequence

from frenchpress.report.figure import Draw
from frenchpress.report.scatter import Point, Series, scatter
from frenchpress.report.study_rows import Row, by_group


def figures(title: str, rows: Sequence[Row]) -> dict[str, Draw]:
    """File name and figure: error rate against compression ratio, against bytes, and ours against published."""
    shown = [row for row in rows if row.size("compression_ratio") and row.size("stored_bytes")]
    if not shown:
        return {}
    ratio = _against_size(title, shown, "compression_ratio", "compression ratio, index and scales counted")
    result = {"per_ratio.svg": ratio, "per_bytes.svg": _against_size(title, shown, "stored_bytes", "bytes")}
    if published := [row for row in shown if row.published]:
        series = [
            Series(group or "ours", [_point(row, row.published or 1.0) for row in mine])
            for group, mine in by_group(published).items()
        ]
        result["per_published.svg"] = scatter(title, "published PER, %", "PER test, ours, %", series)
    return result


def _against_size(title: str, rows: Sequence[Row], key: str, axis: str) -> Draw:
    series = [
        Series(group or "ours", [_point(row, row.size(key) or 1.0) for row in mine])
        for group, mine in by_group(rows).items()
    ]
    published = [row for row in rows if row.published is not None and not row.experiment.twin]
    if published:
        points = [Point(row.size(key) or 1.0, row.published or 0.0, row.experiment.name) for row in published]
        series.append(Series("published, at our size", points, hollow=True))
    return scatter(title, axis, f"{rows[0].unit.rate} test, %", series)


def _point(row: Row, x: float) -> Point:
    return Point(x, row.mean(), row.experiment.name, row.deviation())
