"""The page as files: index.html with the data, scripts and style, and plotly beside them."""

from __future__ import annotations

import filecmp
import importlib.util
import json
import math
import os
import shutil
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from frenchpress.common import UserError, atomic_path, write_if_changed
from frenchpress.report.collect import System, unit_of
from frenchpress.report.page.columns import column_data, system_values
from frenchpress.report.page.details import CURVES, details
from frenchpress.report.page.entry import Entry, compared

INDEX, REPORT = "index.html", "report"
PLOTLY = "plotly.min.js"
HOW_TO_GET = "no figures: plotly is not installed (pip install -e '.[plot]')"
_BESIDE = ("page.css", "base.js", "table.js", "figures.js", "details.js", "page.js")


def write_page(
    out: Path, title: str, entries: Sequence[Entry], gmms: Sequence[System] = (), about: Sequence[str] = ()
) -> Path:
    """Write the page on `entries` into the directory `out`, each file whole; returns the file to open.

    `title` stands above it, the lines `about` below that; rates of `gmms` are lines in figures. Figures need plotly;
    without it the page has tables. UserError where `out` is an experiment's directory.
    """
    if (out / "config.yaml").exists():
        raise UserError(f"{out}: an experiment's directory, where the page would be; give its .cfg another name")
    data = page_data(out, title, entries, gmms, about)
    figures = copy_plotly(out)
    here = files(__package__)
    for name in _BESIDE:
        write_if_changed(out / name, (here / name).read_text("utf-8"))
    template = Template((here / INDEX).read_text("utf-8"))
    html = template.substitute(title=escape(title), data=as_json(data | {"no_figures": "" if figures else HOW_TO_GET}))
    write_if_changed(out / INDEX, html)
    return out / INDEX


def said_of(index: Path) -> str:
    """A line that names a page, and says how to get figures where it has none."""
    there = (index.parent / PLOTLY).is_file()
    return f"{index}: the same to sort, filter and look at" + ("" if there else f" ({HOW_TO_GET})")


def page_data(
    out: Path, title: str, entries: Sequence[Entry], gmms: Sequence[System], about: Sequence[str]
) -> dict[str, Any]:
    """All that the scripts show, as plain values."""
    bases = {entry.base[0]: compared(entry.base[1]) for entry in entries if entry.base}
    experiments = [experiment_data(out, entry) for entry in entries]
    return {
        "title": title,
        "about": list(about),
        "columns": column_data((e["values"] for e in experiments), unit_of(entry.system for entry in entries)),
        "curves": CURVES,
        "bases": bases,
        "gmms": [{"name": s.name, **{f"per_{k}": m and m.per for k, m in _sets(s).items()}} for s in gmms],
        "experiments": experiments,
    }


def experiment_data(out: Path, entry: Entry) -> dict[str, Any]:
    """What the page says of one experiment; links are relative to `out`."""
    system, place = entry.system, entry.place
    found, problems = details(place) if place and place.is_dir() else ({}, [])
    return {
        "values": {**system_values(system), "group": entry.group, **entry.figures},
        "intervals": {f"per_{name}": m.interval for name, m in _sets(system).items() if m},
        "bits": {key: x for key, x in system.sizes.items() if key.endswith("_bits")},
        "config": compared(json.loads(system.config or "{}")),
        "base": entry.base[0] if entry.base else "",
        "commands": entry.commands,
        "notes": [entry.note, *problems] if entry.note else problems,
        "link": quote(os.path.relpath(place, out)) if found else "",
        **found,
    }


def _sets(system: System) -> dict[str, Any]:
    return {"dev": system.dev, "test": system.test}


def as_json(data: Any) -> str:
    """`data` as text that may stand in a script element: no tag can begin in it. What is no finite number is null."""
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def copy_plotly(out: Path) -> bool:
    """Put plotly's script beside the page, if that is not there; whether it is there now."""
    target = out / PLOTLY
    spec = importlib.util.find_spec("plotly")
    source = Path(spec.origin).parent / "package_data" / PLOTLY if spec and spec.origin else None
    if source is None or not source.is_file():
        return target.is_file()
    if not target.is_file() or not filecmp.cmp(source, target):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return True
