"""Is one model really better than another? Test results held against each other, utterance by utterance.

    frenchpress compare exp/lstm512 exp/w8a16 exp/w8a16_hcgs16x
    frenchpress compare exp/lstm512_seed* exp/w8a16_seed*

The first system is what the others are held against. Directories that differ in their seed alone are one system. Any
directory with decode_test in it will do, also a GMM's (exp/tri3) or that of a packed model (exp/x/packed).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.config import config_differences
from frenchpress.nnet.checkpoint import CONFIG
from frenchpress.report.baseline import ordered_errors, pair
from frenchpress.report.collect import System, read_decoded, read_experiment, unit_of
from frenchpress.report.markdown import markdown
from frenchpress.report.table import epochs_cell, given_cell
from frenchpress.score.counts import MIN_SPEAKERS, Units, units
from frenchpress.score.paired import Aligned, check_same, matched_pairs
from frenchpress.score.unit import Unit

LEGEND = """\
- **difference**: PER less that of the first system, in points, with the 95 % interval of a paired bootstrap: the same
  {over} for both{seeds}. An interval on one side of 0: the two differ.{few}
- **lower in**: in how many of the bootstrap's samples this system has the lower PER.
- **p, segments**: matched-pairs test on segments between errors (MAPSSWE), two-sided: how often two equally good
  systems would differ as much. It takes segments as independent, which those of one speaker are not. Of single runs."""


@dataclass(frozen=True)
class Compared:
    """A system: its runs, which differ in nothing but their seed, and how each one's results align."""

    name: str
    systems: tuple[System, ...]
    aligned: tuple[Aligned, ...]

    @property
    def short(self) -> str:
        """Its name without where it lies."""
        return Path(self.name).name

    def errors(self, first: Aligned) -> np.ndarray:
        """Errors per utterance, means over seeds, in the order of `first`; float [utterances]."""
        return np.mean([ordered_errors(aligned, first) for aligned in self.aligned], axis=0)

    def by_token(self) -> tuple[Counter[str], Counter[str]]:
        """Errors on each reference phone or word (wrong or left out), insertions of each, means over seeds."""
        wrong, inserted = Counter[str](), Counter[str]()
        for aligned in self.aligned:
            for ref, hyp, ops in aligned.rows.values():
                wrong.update(said for said, op in zip(ref, ops) if op in "SD")
                inserted.update(heard for heard, op in zip(hyp, ops) if op == "I")
        share = 1 / len(self.aligned)
        return tuple(Counter({token: n * share for token, n in count.items()}) for count in (wrong, inserted))


def read_systems(places: Sequence[Path], split: str) -> list[Compared]:
    """The systems in `places`, by their first runs; UserError for what is not decoded or cannot be paired."""
    found: dict[tuple[str, str], list[tuple[System, Aligned]]] = {}
    for place in dict.fromkeys(places):
        if not (place / f"decode_{split}").is_dir():
            raise UserError(f"{place}: no decode_{split} in it; decode it first (stage 5)")
        system = read_experiment(place) if (place / CONFIG).is_file() else read_decoded(place)
        if system.state:
            raise UserError(f"{place}: {system.state}")
        key = (str(place.parent / system.group), system.config) if system.config else (str(place), "")
        found.setdefault(key, []).append((system, Aligned.load(place / f"decode_{split}")))
    if len(found) < 2:
        raise UserError("expected at least two systems, such as exp/lstm512 exp/w8a16; seeds of one are one system")
    result = []
    for (name, _), runs in found.items():
        systems, aligned = zip(*runs)
        result.append(Compared(name if len(runs) > 1 else str(_place(aligned[0])), systems, aligned))
    for compared in result:
        for aligned in compared.aligned:
            check_same(result[0].aligned[0], aligned)
    return result


def _place(aligned: Aligned) -> Path:
    return Path(aligned.source).parent


def rate_table(systems: Sequence[Compared], unit: Unit) -> list[str]:
    """Markdown lines: every system with its rate and what tells it from the first."""
    base = systems[0].aligned[0]
    tokens = base.tokens().sum()
    rows = []
    for system in systems:
        per = 100 * system.errors(base).sum() / tokens
        making = [epochs_cell(system.systems[0]), given_cell([run.starts_from for run in system.systems])]
        cells = [system.name, str(len(system.systems)), *making, f"{per:.2f}"]
        if system is systems[0]:
            rows.append([*cells, "-", "-", "-"])
            continue
        found = pair(systems[0].aligned, system.aligned)
        alone = len(system.aligned) == len(systems[0].aligned) == 1
        matched = matched_pairs(base, system.aligned[0]) if alone else None
        p = "-" if matched is None else f"{matched.p:.3g} ({matched.segments} segments)"
        rows.append([*cells, str(found), f"{100 * found.lower:.0f} %", p])
    head = ["system", "runs", "epochs", "starts from", unit.rate, "difference", "lower in", "p, segments"]
    return markdown(head, rows)


def speaker_table(one: Compared, other: Compared, top: int, unit: Unit) -> list[str]:
    """Markdown lines: the speakers whose errors changed most."""
    base = one.aligned[0]
    names = sorted({base.utt2spk[utt] for utt in base.rows})
    number = {name: n for n, name in enumerate(names)}
    by = Units("speakers", len(names), np.array([number[base.utt2spk[utt]] for utt in base.rows]))
    tokens = by.sums(base.tokens())
    errors = [by.sums(system.errors(base)) for system in (one, other)]
    change = errors[1] - errors[0]
    better, worse = int((change < 0).sum()), int((change > 0).sum())
    rows = []
    for n in sorted(range(len(names)), key=lambda n: (-abs(change[n]), n))[:top]:
        rates = [100 * mine[n] / max(tokens[n], 1) for mine in errors]
        rows.append([names[n], str(tokens[n]), *(f"{rate:.1f}" for rate in rates), f"{rates[1] - rates[0]:+.1f}"])
    said = f"Speakers: {better} better, {worse} worse, {len(names) - better - worse} the same."
    return [said, "", *markdown(["speaker", unit.many, one.short, other.short, "difference"], rows)]


def token_table(one: Compared, other: Compared, top: int, unit: Unit) -> list[str]:
    """Markdown lines: the phones or words whose errors changed most, in errors of each kind."""
    there = Counter(token for utt in one.aligned[0].rows for token in one.aligned[0].reference(utt))
    (wrong, inserted), (wrong_too, inserted_too) = one.by_token(), other.by_token()
    change = {p: wrong_too[p] - wrong[p] + inserted_too[p] - inserted[p] for p in {*there, *inserted, *inserted_too}}
    moved = sorted((p for p in change if change[p]), key=lambda p: (-abs(change[p]), p))[:top]
    counts = [(there[p], wrong[p], wrong_too[p], inserted[p], inserted_too[p]) for p in moved]
    rows = [[p, *(f"{n:.4g}" for n in mine), f"{change[p]:+.4g}"] for p, mine in zip(moved, counts)]
    counted = [f"{what}, {s.short}" for what in ("wrong or left out", "put in") for s in (one, other)]
    return markdown([unit.name, "there", *counted, "change"], rows)


def config_lines(one: Compared, other: Compared) -> list[str]:
    """Markdown lines: what differs in the two configurations, decoding left out."""
    configs = [json.loads(system.systems[0].config or "{}") for system in (one, other)]
    if not all(configs):
        return ["- at least one of them has no configuration (a GMM, or a packed model)"]
    lines = [f"- `{key}`: {then} -> {now}" for key, then, now in config_differences(*configs)]
    epochs = [epochs_cell(system.systems[0]) for system in (one, other)]
    lines += [f"- epochs: {epochs[0]} -> {epochs[1]}"] * (epochs[0] != epochs[1])
    seeds = [sorted(str(s.seed) for s in system.systems) for system in (one, other)]
    lines += [f"- `seed`: {' '.join(seeds[0])} -> {' '.join(seeds[1])}"] * (seeds[0] != seeds[1])
    return lines or ["- nothing but how they were decoded, if that"]


def comparison(systems: Sequence[Compared], split: str, top: int) -> str:
    """All that is said."""
    base = systems[0].aligned[0]
    by = units(list(base.rows), base.utt2spk)
    unit = unit_of(run for compared in systems for run in compared.systems)
    size = f"speakers {by.speakers}, utterances {len(base.rows)}, {unit.many} {base.tokens().sum()}"
    few = (
        f"\n  Speakers would be the right thing to draw, but {MIN_SPEAKERS} are needed: these intervals are too narrow."
    )
    seeds = ", and seeds of each" if any(len(s.aligned) > 1 for s in systems) else ""
    legend = unit.said(LEGEND).format(over=by.over, seeds=seeds, few=few * (by.over == "utterances"))
    parts = [[f"# {split}: {size}"], rate_table(systems, unit), [legend]]
    for other in systems[1:]:
        parts += [[f"## {other.name} against {systems[0].name}"], ["What differs:"], config_lines(systems[0], other)]
        parts += [speaker_table(systems[0], other, top, unit), token_table(systems[0], other, top, unit)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main() -> None:
    """Command line."""
    args = parse("compare")
    print(comparison(read_systems(args.experiments, args.split), args.split, args.top), end="")


if __name__ == "__main__":
    run_main(main)
