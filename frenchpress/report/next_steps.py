"""What to do with a table of results: what was not run, seeds, where the errors are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from frenchpress.common import UserError
from frenchpress.compress import asked_density
from frenchpress.config import Config, layer_presses, load_config
from frenchpress.report.collect import System, unit_of

_NO_POINTS = {"base", "tiny"}
_POINTS = 3


def next_steps(exp: Path, experiments: Sequence[System], conf: Path) -> list[str]:
    """Markdown lines of a list; design points and seeds by the `.cfg` files in `conf`."""
    done = {s.group for s in experiments}
    command = "./run.sh --stage 4" + ("" if exp == Path("exp") else f" --exp {exp}")
    lines = []
    fresh = _spread([p for p in mild_to_hard(conf) if p.stem not in done | _NO_POINTS])
    if fresh:
        lines.append(f'- other design points, mild to hard: `{command} --conf "{" ".join(map(str, fresh))}"`')
    if single := [cfg for group in sorted(done - _NO_POINTS) if (cfg := _source(group, experiments, conf))]:
        files = " ".join(map(str, single))
        lines.append(f'- a spread to compare by: `{command} --seeds "1 2 3" --conf "{files}"`')
    decoded = [s for s in experiments if s.dev]
    if decoded:
        best = min(decoded, key=lambda s: s.dev.per if s.dev else 100.0)
        errors = f"{exp}/{best.name}/decode_dev/per_{unit_of(decoded).name}"
        lines.append(f"- where the errors are: `{errors}`, and `per_speaker` beside it")
    lines.append("- an experiment of your own: a new file in `conf/` that names its `base:` and says what differs")
    return lines


def _source(group: str, experiments: Sequence[System], conf: Path) -> Path | None:
    """The .cfg to make more seeds of a group from, that of its runs; None if there are three, or if it is not there."""
    runs = [s for s in experiments if s.group == group]
    made_from = next((Path(s.cfg) for s in runs if Path(s.cfg).stem == group), conf / f"{group}.cfg")
    return made_from if len(runs) < 3 and made_from.is_file() else None


def mild_to_hard(conf: Path) -> list[Path]:
    """The sound `.cfg` files in a directory, by how much they leave of a model; like ones by name."""
    left = {}
    for path in sorted(conf.glob("*.cfg")):
        try:
            left[path] = bits_left(load_config(path))
        except UserError:
            continue
    return sorted(left, key=lambda path: -left[path])


def bits_left(config: Config) -> float:
    """Bits asked for per weight of the unpressed model, kept and removed ones, as a mean over its matrices."""
    layers = layer_presses(config).values()
    matrices = [press.of_matrix(name) for press in layers for name in ("input", "recurrent")]
    return mean(press.weight_bits * asked_density(press) for press in matrices)


def _spread(paths: Sequence[Path]) -> list[Path]:
    """The first, the last, and what lies evenly between."""
    if len(paths) <= _POINTS:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (_POINTS - 1))] for i in range(_POINTS)]
