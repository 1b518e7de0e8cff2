"""What a study has come to: `python -m frenchpress.report.study_results recipes/X exp/X` writes recipes/X/RESULTS.md,
figures beside it, and the page exp/X/report/index.html.

Whatever has been run so far is in it, and what has not is named. Runs that were made as the study says are recorded in
recipes/X/runs (frenchpress.report.records).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.config import Config
from frenchpress.hardware.chip import Chip, load_chip
from frenchpress.nnet.checkpoint import CONFIG, read_header
from frenchpress.nnet.given import given_digests
from frenchpress.report import figure
from frenchpress.report.collect import System
from frenchpress.report.hardware import OnChip, chip_figures, chip_section, on_chip
from frenchpress.report.page import said_of
from frenchpress.report.records import record_path, write_record
from frenchpress.report.scatter import SIZE
from frenchpress.report.study import OTHERS, Study, load_study
from frenchpress.report.study_figures import figures
from frenchpress.report.study_page import write_study_page
from frenchpress.report.study_rows import Row, Run, by_group, missing_lines, read_runs, scored_in, sections
from frenchpress.report.study_table import epoch_table, index_table, link_table, point_table, rank_table, twin_table
from frenchpress.report.table import SENT_LEGEND, scored_on, sent_cell, write

RESULTS, READING = "RESULTS.md", "reading.md"
LEGEND = """\
How to read a row

- **PER**: phone error rate in percent; the LM weight was chosen on dev, test was scored once. With several seeds: mean
  ± sample standard deviation (number of seeds). With one: the 95 % interval of a bootstrap over speakers, or over
  utterances where there are fewer than 5 or the record is old; "Scored" says which.
- **test, no silence**: with silence taken out, its LM weight chosen on dev (docs/scoring.md); empty: not measured.
- **to baseline**: PER minus that of the baseline (the row with +0.00), in points and in percent of the baseline's PER,
  seed by seed. **published**: the published PER. **to its float**: the same difference in the source.
- **density**: kept weights / all weights, as it came out. **fewer weights**: the inverse, the published "16x", which
  counts neither bits nor index.
- **compression**: bits of the weight matrices as dense float32 / bits stored for them, with index and scales.
  **stored**: bytes of the whole model.
{more}- **epochs**: of this training, of those in all with the models that it starts from (?: not known).
- **index code**: the codes with the fewest bits for the masks; `frenchpress codes` compares all codes. **index free**:
  what the compression would be if a reader knew the masks.
- In the figures bars are one standard deviation over seeds to either side; one seed has none."""
PROCESSOR_LEGEND = """\
- **processor**: processor time of this training, of one of its processes; mean over seeds. Other programs on the same
  cores change it less than they change the time on the clock. Empty for what was trained before it was noted.
"""


def section_text(settings: tuple[str, ...], rows: Sequence[Row], pictures: Sequence[str]) -> list[list[str]]:
    """Paragraphs on the runs that were made in one way."""
    named = {row.experiment.name: row for row in rows}
    parts = [["## Results, settings as the study says"]]
    if settings:
        parts = [["## Results of other settings"], ["**Not the study as written:**", "", *(f"- {s}" for s in settings)]]
    groups = by_group(rows)
    for group, mine in groups.items():
        parts += [[f"### {group or OTHERS}"]] * (len(groups) > 1) + [point_table(mine, named)]
    runs = {run.name + str(run.seed): run for row in rows for run in row.runs}.values()
    devices = Counter(run.device or "unknown" for run in runs)
    on = ", ".join(f"{device} ({count})" for device, count in sorted(devices.items()))
    systems = [run.system for run in runs if run.system]
    parts.append(["Scored:", "", *scored_on(systems), "", f"Runs, by what they were trained on: {on}."])
    tables = {
        "Variants": twin_table(rows, named),
        f"Dev {rows[0].unit.rate} after each epoch": epoch_table(rows),
        "What the index takes": index_table(rows),
        "Time on a link for what a step sends: bytes / rate, without latency": link_table(rows),
        "Rank correlation": rank_table(rows, named),
    }
    for title, table in tables.items():
        parts += [[f"### {title}"], table] if table else []
    shown = [[f"![{name}]({name})"] for name in pictures]
    return parts + (shown if figure.available() else [[f"({figure.HOW_TO_GET})"]])


def notes(study: Study, runs: dict[str, list[Run]]) -> list[str]:
    """What has to be known of single points that have been run."""
    said: dict[str, list[str]] = {}
    for name, experiment in study.experiments.items():
        if all(run.problem for run in runs[name]):
            continue
        if experiment.note:
            said.setdefault(experiment.note, []).append(name)
        if runs[name][0].name != name:
            said.setdefault(f"same configuration, and so the same runs, as {runs[name][0].name}", []).append(name)
    return [f"- {', '.join(names)}: {note}" for note, names in said.items()]


def results_text(
    study: Study,
    runs: dict[str, list[Run]],
    pictures: dict[tuple[str, ...], list[str]],
    reading: Path,
    more: Sequence[list[str]] = (),
) -> str:
    """All of RESULTS.md; `pictures` names the figures of each section, `reading` is what is made of them, if a file.

    `more`: paragraphs of other sections.
    """
    parts = [[f"# {study.title}"], [study.asks]]
    if reading.is_file():
        parts += [["## Reading"], [reading.read_text("utf-8").strip()]]
    found = sections(study, runs)
    for settings, rows in found.items():
        parts += section_text(settings, rows, pictures.get(settings, []))
    parts += more
    if missing := missing_lines(study, runs):
        parts += [["## Without a result"], missing]
    if study.left_out:
        parts += [["## Left out"], [f"- {name}: {why}" for name, why in study.left_out.items()]]
    if told := notes(study, runs):
        parts += [["## Notes"], told]
    if found:
        more = _legend_of([run.system for rows in found.values() for row in rows for run in row.runs if run.system])
        parts.append([scored_in(runs).said(LEGEND.format(more=more))])
    return "\n\n".join("\n".join(part) for part in parts if any(part)) + "\n"


def _legend_of(systems: Sequence[System]) -> str:
    """Of the columns that not every study has."""
    sent, timed = any(map(sent_cell, systems)), any(run.training.get("processor_seconds") for run in systems)
    return SENT_LEGEND * sent + PROCESSOR_LEGEND * timed


def record(study: Study, runs: dict[str, list[Run]], exp: Path, out: Path) -> None:
    """Record in `out` the runs in `exp` that have a result and were made as the study says."""
    configs = study.configs()
    for run in (run for mine in runs.values() for run in mine):
        place, config = exp / f"{run.name}-seed{run.seed}", replace(configs[run.name], seed=run.seed)
        if run.problem or run.settings or run.recorded or not same_given(place, config):
            continue
        write_record(record_path(out, place.name), place, run.system, study.lineage(config, run.task), run.device)


def same_given(place: Path, config: Config) -> bool:
    """Whether the models that the run in `place` started or learned from are those that are there now."""
    try:
        given = given_digests(config, place)
    except UserError:
        return False
    return given.items() <= read_header(place / CONFIG).items()


def study_on_chip(chip: Chip, study: Study, runs: dict[str, list[Run]], exp: Path) -> dict[str, OnChip]:
    """What each point costs on a chip, with the mean rate of its runs; by the name of its first run, the one that is
    looked at."""
    rows = [row for found in sections(study, runs).values() for row in found]
    names = [f"{row.runs[0].name}-seed{row.runs[0].seed}" for row in rows]
    return {name: on_chip(chip, r.experiment.name, exp / name, r.mean()) for r, name in zip(rows, names)}


def main() -> None:
    """Command line."""
    args = parse("study-results")
    study, out = load_study(args.recipe), args.out or args.recipe
    chip = load_chip(args.chip) if args.chip else None
    runs = read_runs(study, args.exp, out)
    record(study, runs, args.exp, out)
    pictures: dict[tuple[str, ...], list[str]] = {}
    for number, (settings, rows) in enumerate(sections(study, runs).items(), 1):
        for name, draw in figures(study.title, rows).items() if figure.available() else ():
            own = name if number == 1 else name.replace(".svg", f"_{number}.svg")
            figure.save(out / own, draw, SIZE)
            pictures.setdefault(settings, []).append(own)
    costs = study_on_chip(chip, study, runs, args.exp) if chip else {}
    more = chip_section(chip, list(costs.values()), scored_in(runs)) if chip else []
    write(out / RESULTS, results_text(study, runs, pictures, out / READING, more))
    figures_of = {name: chip_figures(cost) for name, cost in costs.items()}
    print(said_of(write_study_page(study, runs, args.exp, out, figures_of)))


if __name__ == "__main__":
    run_main(main)
