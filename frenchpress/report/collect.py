"""What is in an `exp/` directory: GMM systems and experiments, with whatever each has come to so far."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, digest, read_yaml
from frenchpress.nnet.checkpoint import SUMMARY
from frenchpress.report.epochs import Epochs
from frenchpress.report.lineage import lineage
from frenchpress.score.unit import PHONE, UNITS, Unit

GMM_ORDER = ("mono", "tri1", "tri2", "tri3")
_SIZES = (
    "parameters",
    "density",
    "stored_bytes",
    "huffman_bytes",
    "compression_ratio",
    "weight_ratio",
    "macs_dense",
    "macs_kept",
)
_TRAINING = ("seconds", "processor_seconds", "epochs", "frames_per_second", "sent_bytes_per_step")

References = dict[str, tuple[float | None, float | None]]
"""Reference rates on dev and test by system; None where one is not known."""


@dataclass(frozen=True)
class Measured:
    """A set's error rate in percent, its 95 % interval, and what it was measured on.

    `interval_over`: what was resampled, speakers or utterances. `without_silence`: the same with silence taken out.
    Both are None, as is the number of `speakers`, for what was decoded before they were noted. `unit`: phone or word,
    of which there are as many as `phones` says.
    """

    per: float
    interval: tuple[float, float]
    utterances: int
    phones: int
    oracle: float | None = None
    speakers: int | None = None
    interval_over: str | None = None
    without_silence: Measured | None = None
    unit: str = PHONE.name


@dataclass(frozen=True)
class System:
    """A GMM system or an experiment. `sizes` and `training` hold what is known; `state` says what is missing.

    `cfg`: the file that it was made from. `codes`: index codes of its masks. `by_epoch`: dev PER after each epoch,
    where that was measured. `starts_from`, `learns_from`: names of the runs whose models it was given. `epochs`: as
    `read_epochs` has them, in records alone.
    """

    name: str
    dev: Measured | None
    test: Measured | None
    state: str = ""
    group: str = ""
    seed: int | None = None
    config: str = ""
    cfg: str = ""
    sizes: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    by_epoch: dict[int, float] = field(default_factory=dict)
    starts_from: str = ""
    learns_from: str = ""
    epochs: Epochs = field(default_factory=dict)


def unit_of(systems: Iterable[System]) -> Unit:
    """What all of them are scored in, phones where none is decoded yet; UserError for some of phones, some of words."""
    found = {m.unit: s.name for s in systems for m in (s.dev, s.test) if m}
    if len(found) > 1:
        names = " and ".join(f"{name} is scored in {UNITS[unit].many}" for unit, name in sorted(found.items()))
        raise UserError(f"{names}: their rates say different things; put them into directories of their own")
    return UNITS[next(iter(found), PHONE.name)]


def without_seed(name: str) -> str:
    """The name of a run without `_seed1` or `-seed1` at its end."""
    return re.sub(r"[_-]seed\d+$", "", name)


def alike(run: System) -> tuple[str, str]:
    """What runs have in common that differ in nothing but their seed."""
    return run.group, run.config


def one_per_seed(runs: Iterable[System]) -> list[System]:
    """A run of each seed: one that was trained under two names counts once."""
    return list({run.seed: run for run in runs}.values())


def collect(exp: Path) -> tuple[list[System], list[System]]:
    """GMM systems in their order, and experiments by compression ratio; UserError for a file that is damaged."""
    if not exp.is_dir():
        raise UserError(f"{exp}: no such directory")
    places = sorted(p for p in exp.iterdir() if p.is_dir() and not p.name.startswith("."))
    experiments = [read_experiment(p) for p in places if (p / "config.yaml").is_file()]
    # Directories of alignments have a final.mdl too.
    gmms = [
        read_decoded(p)
        for p in places
        if (p / "final.mdl").is_file() and (p.name in GMM_ORDER or (p / "decode_test").is_dir())
    ]
    rank = {name: place for place, name in enumerate(GMM_ORDER)}
    gmms.sort(key=lambda s: (rank.get(s.name, len(rank)), s.name))
    ratios: dict[str, float] = {}
    for s in experiments:
        # What has no size yet comes last.
        ratios[s.group] = min(ratios.get(s.group, math.inf), s.sizes.get("compression_ratio", math.inf))
    experiments.sort(key=lambda s: (ratios[s.group], s.group, s.config, s.seed or 0, s.name))
    return gmms, experiments


def read_reference(path: Path) -> References:
    """Reference rates, YAML lines `system: [dev, test]`; null for one that is not known."""
    result = {}
    for name, pair in read_yaml(path).items():
        if not isinstance(pair, list) or len(pair) != 2 or not all(x is None or _is_number(x) for x in pair):
            raise UserError(f"{path}: {name}: expected [dev PER, test PER], null where one is not known, found {pair}")
        result[str(name)] = tuple(pair)
    return result


def read_decoded(place: Path) -> System:
    """A system of which no more is known than what decoding it came to: a GMM's, or that of a packed model."""
    dev, test = (_measured(place / f"decode_{split}/stats.yaml") for split in ("dev", "test"))
    return System(place.name, dev, test, "" if dev and test else "not decoded yet")


def read_experiment(place: Path) -> System:
    """What the experiment in `place`, which has a config.yaml, has come to; UserError for a file that is damaged."""
    config = read_yaml(place / "config.yaml")
    seed = config.get("seed")
    dev, test = (_measured(place / f"decode_{split}/stats.yaml") for split in ("dev", "test"))
    state = _state(place, bool(dev and test))
    if state:
        dev = test = None
    sizes, training = (_values(place / f"{name}.yaml") for name in ("size", "train"))
    matrices, made = sizes.pop("matrices", []), lineage(place)
    try:
        parts = _parts(matrices)
        codes = tuple(sorted({m.get("index_code") or "hcgs" for m in matrices if m.get("index_bits")}))
    except (TypeError, AttributeError):
        raise UserError(f"{place / 'size.yaml'}: not the sizes of a model; train again (--restart)") from None
    return System(
        place.name,
        dev,
        test,
        state,
        without_seed(place.name),
        seed if isinstance(seed, int) else None,
        settings(config),
        _made_from(place),
        {key: sizes[key] for key in _SIZES if key in sizes} | parts,
        {key: training[key] for key in _TRAINING if key in training} | made.totals,
        codes,
        _by_epoch(place),
        made.starts_from,
        made.learns_from,
    )


def settings(config: Mapping[str, Any]) -> str:
    """A configuration as text, without seed and decoding: alike for runs that differ in nothing but those."""
    said = {key: value for key, value in config.items() if key not in ("seed", "decode")}
    return json.dumps(said, sort_keys=True, default=str)


def _made_from(place: Path) -> str:
    """The .cfg of a run, as it was given."""
    path = place / SUMMARY
    return str(read_yaml(path).get("config", "")) if path.is_file() else ""


def _parts(matrices: list[dict[str, Any]]) -> dict[str, float]:
    """Bits of the matrices by what they are: values, index, scales."""
    kinds = ("value_bits", "index_bits", "scale_bits")
    return {kind: sum(m.get(kind, 0) for m in matrices) for kind in kinds} if matrices else {}


def _by_epoch(place: Path) -> dict[int, float]:
    found = {
        int(p.parts[-3]): _measured(p) for p in place.glob("epochs/*/decode_dev/stats.yaml") if p.parts[-3].isdecimal()
    }
    return {epoch: found[epoch].per for epoch in sorted(found)}


def _state(place: Path, decoded: bool) -> str:
    if not (place / "final.pt").is_file():
        return "training not finished"
    if not decoded:
        return "not decoded yet"
    stamp = place / "decode_test/.done"
    try:
        model = json.loads(stamp.read_text()).get("model") if stamp.is_file() else None
    except (ValueError, AttributeError):
        raise UserError(f"{stamp}: damaged; remove it and decode again (stage 5)") from None
    return "" if model in (None, digest(place / "final.pt")) else "trained anew since it was decoded"


def _measured(path: Path) -> Measured | None:
    if not path.is_file():
        return None
    try:
        return _statistics(read_yaml(path))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path}: not statistics of a decoding; decode again (stage 5)") from None


def _statistics(stats: Mapping[str, Any]) -> Measured:
    """The part of stats.yaml that is of interest here."""
    values = {key: stats[key] for key in ("per", "interval", "utterances", "phones")}
    values |= {key: stats[key] for key in ("unit", "speakers", "interval_over", "without_silence") if key in stats}
    return measured(values | {"oracle": stats["oracle"]["per"] if stats.get("oracle") else None})


def measured(values: Mapping[str, Any]) -> Measured:
    """The fields of `Measured` as read from a file; an error of Python where they are none."""
    silent = values.get("without_silence")
    known = {f.name for f in fields(Measured)}
    if silent is not None:
        silent = measured({key: value for key, value in silent.items() if key in known})
    found = Measured(**{**values, "interval": tuple(values["interval"]), "without_silence": silent})
    numbers = [found.per, *found.interval, found.utterances, found.phones]
    numbers += [0 if number is None else number for number in (found.oracle, found.speakers)]
    if len(found.interval) != 2 or found.unit not in UNITS or not all(_is_number(x) for x in numbers):
        raise ValueError("expected numbers, of phones or words")
    return found


def _values(path: Path) -> dict[str, Any]:
    """Numbers of a YAML file, and what is said of single matrices; nothing where there is no file."""
    values = read_yaml(path) if path.is_file() else {}
    matrices = values.get("matrices", [])
    if not isinstance(matrices, list) or not all(isinstance(m, dict) for m in matrices):
        raise UserError(f"{path}: matrices: expected a list of what is said of each; train again (stage 4)")
    return {key: value for key, value in values.items() if _is_number(value) or key == "matrices"}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
