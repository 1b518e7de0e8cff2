"""Growth of cost with streams, on one thread: packed streams take turns, other programs get them as a batch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch

from frenchpress.bench.inference import Case, Unavailable, onnx_subjects, packed_run, torch_subjects
from frenchpress.bench.layers import PACKED, packed_layers
from frenchpress.bench.limits import Limits, macs_subject, read_subject
from frenchpress.bench.timing import Subject, interleave
from frenchpress.packed.runtime import Runtime
from frenchpress.report.figure import Draw
from frenchpress.report.lines import Line, lines

STREAMS, QUICK_STREAMS = (1, 2, 4, 8, 16), (1, 2)
NAMES = "w8a16", "w8a16_hcgs16x"
Y_LABEL = "microseconds per frame"


@dataclass(frozen=True)
class Packed:
    """A packed model under its name, with the limits that it is held against."""

    name: str
    runtime: Runtime
    limits: Limits


@dataclass(frozen=True)
class Table:
    """Subjects by name for each number of streams; whole utterances, or frames one by one (`streaming`)."""

    streaming: bool
    found: dict[int, dict[str, Subject]]

    @property
    def names(self) -> list[str]:
        """Of the subjects, which are the same for any number of streams."""
        return list(next(iter(self.found.values())))


def case_of(args: argparse.Namespace, cells: int, streaming: bool, streams: int = 1) -> Case:
    """Streams share the frames, so that the work is the same for any number of them."""
    frames = max(2, (args.stream_frames if streaming else args.frames) // streams)
    return Case(args.inputs, cells, args.layers, frames, streaming, 1, args.seed, streams)


def _packed(args: argparse.Namespace) -> list[Packed]:
    models: list[Packed] = []
    for name in NAMES:
        runtime = packed_layers(args.inputs, args.cells, args.layers, PACKED[name], args.seed)
        level = runtime.level or 0
        macs = models[0].limits.macs if models else macs_subject(level)
        models.append(Packed(f"{name}, packed", runtime, Limits(macs, read_subject(level, runtime.weight_bytes))))
    return models


def _table(args: argparse.Namespace, streaming: bool, models: list[Packed], notes: dict[str, None]) -> Table:
    found: dict[int, dict[str, Subject]] = {}
    for streams in QUICK_STREAMS if args.quick else STREAMS:
        case = case_of(args, args.cells, streaming, streams)
        subjects = [Subject(m.name, packed_run(case, m.runtime), case.frames * streams) for m in models]
        for others in (torch_subjects, onnx_subjects):
            try:
                subjects += others(case)
            except Unavailable as reason:
                notes[str(reason)] = None
        found[streams] = {s.name: s for s in subjects}
    return Table(streaming, found)


def _print(title: str, table: Table, models: list[Packed]) -> None:
    print(f"\n{title}, {'frame by frame' if table.streaming else 'whole utterances'}, us/frame")
    print(f"  {'streams':36s}" + "".join(f"{streams:9d}" for streams in table.found))
    for name in table.names:
        print(f"  {name:36s}" + "".join(f"{s[name].microseconds_per_frame:9.2f}" for s in table.found.values()))
        for m in (m for m in models if m.name == name):
            shares = [m.limits.shares(s[name], m.runtime.macs, m.runtime.weight_bytes) for s in table.found.values()]
            print(f"    {'of multiplying':34s}" + "".join(f"{multiplying:9.1%}" for multiplying, _ in shares))
            if table.streaming:  # otherwise frames share what is read
                print(f"    {'of reading':34s}" + "".join(f"{reading:9.1%}" for _, reading in shares))


def _lines(table: Table) -> list[Line]:
    lines = []
    for group, name in enumerate(table.names):
        points = [(streams, s[name].microseconds_per_frame) for streams, s in table.found.items()]
        lines.append(Line(name if table.streaming else f"{name} (whole)", points, group, not table.streaming))
    return lines


def streams_growth(args: argparse.Namespace) -> Draw:
    """Time and print the growth with streams; the plot."""
    before, notes, models = torch.get_num_threads(), {}, _packed(args)
    tables = [_table(args, streaming, models, notes) for streaming in (True, False)]
    limits = [models[0].limits.macs, *(m.limits.read for m in models)]
    try:
        timed = [s for table in tables for subjects in table.found.values() for s in subjects.values()]
        interleave([*limits, *timed], args.repeats)
    finally:
        torch.set_num_threads(before)
    title = f"growth with streams, {args.layers} x {args.cells} cells, one thread"
    for table in tables:
        _print(title, table, models)
    for m in models:
        print(f"{m.name}: {m.runtime.macs} multiply-accumulates, {m.runtime.weight_bytes} bytes of weights per frame")
    for note in notes:
        print(f"left out: {note}")
    return lines(title, "streams", Y_LABEL, [line for table in tables for line in _lines(table)])
