"""What may be wrong with a trained model, and what to try: `frenchpress diagnose exp/x`.

Prints what it finds, and writes exp/x/diagnose.md with tables, and figures and the whole confusion matrix in
exp/x/diagnose/. Nothing is trained or decoded again but for a check of the graph on a few utterances.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from frenchpress.arguments import parse
from frenchpress.common import run_main, write_if_changed
from frenchpress.nnet.data import Frames
from frenchpress.nnet.model import AcousticModel
from frenchpress.nnet.task import Task
from frenchpress.report import figure
from frenchpress.report.diagnose import figures
from frenchpress.report.diagnose.curves import CURVES, History, curve_findings, read_history
from frenchpress.report.diagnose.errors import Errors, error_findings
from frenchpress.report.diagnose.findings import Finding
from frenchpress.report.diagnose.layers import Activity, layer_findings, measure
from frenchpress.report.diagnose.targets import prior_finding, target_findings
from frenchpress.report.experiment import model_and_task
from frenchpress.report.markdown import markdown
from frenchpress.score.unit import PHONE

_UTTERANCES, _WORST = 200, 5


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at, and what was found."""

    history: History
    errors: Errors | None
    activity: Activity
    findings: list[Finding]


def diagnose(experiment: Path, task: Task, model: AcousticModel) -> Diagnosis:
    """Look at curves, errors, task and layers of the trained `model` of `experiment`."""
    history, dev, decode = read_history(experiment, CURVES), task.split("dev"), model.config.decode
    frames = Frames(islice(dev, _UTTERANCES))
    activity = measure(model, frames)
    errors = Errors.load(experiment, task.optional_tokens, dev.utt2spk)
    found = curve_findings(history, task.pdf_counts, model.config)
    if errors is not None:
        best = min((entry["dev_frame_error_mono"] for entry in history), default=None)
        tried = errors.stats.get("tried", {}).get("lm_weight", decode.lm_weights)
        found += error_findings(errors, tuple(tried), best)
    found += target_findings(task, decode)
    prior = prior_finding(activity.mean_posterior, task.pdf_counts)
    found += ([] if prior is None else [prior]) + layer_findings(activity, model.config)
    return Diagnosis(history, errors, activity, found)


def write_report(experiment: Path, task: Task, found: Diagnosis) -> None:
    """exp/x/diagnose.md, and what it shows in exp/x/diagnose/."""
    place = experiment / "diagnose"
    lines = [f"# What may be wrong with {experiment.name}", "", "## Findings", ""]
    lines += [f"- **{f.kind}**: {f.seen} *Try:* {f.advice}" for f in found.findings] or ["Nothing stands out."]
    lines += ["", "## Learning curves", "", *_curve_table(found.history)]
    if figure.available():
        figure.save(place / "curves.png", figures.curves(found.history))
        figure.save(place / "priors.png", figures.priors(found.activity.mean_posterior, task.pdf_counts))
        lines += ["", "![learning curves](diagnose/curves.png)", "", "![priors](diagnose/priors.png)"]
    else:
        lines += ["", f"({figure.HOW_TO_GET})"]
    lines += ["", "## Layers", "", *_layer_table(found.activity)]
    lines += ["", *(_error_sections(place, found.errors) if found.errors else ["Not decoded: stage 5 does that."])]
    write_if_changed(experiment / "diagnose.md", "\n".join(lines) + "\n")


def _curve_table(history: History) -> list[str]:
    head = ["epoch", "loss train", "loss dev", "frame error cd %", "frame error mono %", "rate"]
    rows = [
        [
            f"{e['epoch']:.0f}",
            f"{e['loss_cd'] + e['loss_mono']:.3f}",
            f"{e['dev_loss']:.3f}",
            f"{100 * e['dev_frame_error_cd']:.2f}",
            f"{100 * e['dev_frame_error_mono']:.2f}",
            f"{e['lr_lstm']:.2e}",
        ]
        for e in history
    ]
    return markdown(head, rows) if rows else ["Nothing is known of epochs: metrics.jsonl has none."]


def _layer_table(activity: Activity) -> list[str]:
    head = ["layer", "outputs near 1 %", "still cells %", "inputs cut off %"]
    rows = [[s.name, *(f"{100 * x:.2f}" for x in (s.saturated, s.still, s.cut_off))] for s in activity.layers]
    weights = [[name, f"{100 * share:.2f}"] for name, share in activity.clipped.items()]
    return markdown(head, rows) + (["", *markdown(["matrix", "weights at the clip %"], weights)] if weights else [])


def _error_sections(place: Path, errors: Errors) -> list[str]:
    counts = errors.scored.counts
    lines = ["## Errors on dev", "", f"{counts.line()}, LM weight {errors.stats.get('lm_weight')}", ""]
    speakers = [[name, str(c.tokens), f"{c.rate:.1f}"] for name, c in errors.by_speaker().items() if c.tokens]
    unit = errors.scored.unit
    lines += ["Worst speakers first:", "", *markdown(["speaker", unit.many, unit.rate], speakers[: 2 * _WORST])]
    lines += _confusion_section(place, errors) if unit is PHONE else []
    lines += ["", "Worst utterances (reference above, recognised below):"]
    for utt, rate, pairs in errors.worst_utterances()[:_WORST]:
        lines += ["", f"{utt}: {rate:.1f} %", "", *_aligned(pairs)]
    return lines


def _confusion_section(place: Path, errors: Errors) -> list[str]:
    names, table = errors.confusions()
    rows = [[name, *map(str, counts)] for name, counts in zip(names, table.tolist())]
    write_if_changed(place / "confusions.csv", "".join(",".join(row) + "\n" for row in [["said", *names], *rows]))
    lines = [
        "",
        "All confusions (row: said, column: recognised, `-`: nothing): [confusions.csv](diagnose/confusions.csv)",
    ]
    if figure.available():
        side = max(5.0, 0.14 * len(names))
        figure.save(place / "confusions.png", figures.confusions(names, table), (side, side))
        lines += ["", "![confusions](diagnose/confusions.png)"]
    return lines


def _aligned(pairs: list[tuple[str | None, str | None]]) -> list[str]:
    """Reference and hypothesis under one another."""
    widths = [max(len(said or "***"), len(heard or "***")) for said, heard in pairs]
    sides = zip(*pairs) if pairs else ((), ())
    return ["    " + " ".join((word or "***").ljust(w) for word, w in zip(side, widths)).rstrip() for side in sides]


def main() -> None:
    """Command line."""
    args = parse("diagnose")
    model, task = model_and_task(args.experiment, args.task)
    found = diagnose(args.experiment, task, model)
    write_report(args.experiment, task, found)
    print(f"{args.experiment}, on dev: {len(found.findings) or 'nothing'} to look at")
    for finding in found.findings:
        print(finding)
    if not figure.available():
        print(figure.HOW_TO_GET)
    print(f"{args.experiment}/diagnose.md has the tables")


if __name__ == "__main__":
    run_main(main)
