"""Inference speed at batch 1: whole utterances, and single frames with the state carried from call to call.

Every runtime is a function from a `Case` to its subjects, and one entry of `RUNTIMES`. All LSTMs have the same sizes;
weights are random, since the time does not depend on them. Threads of onnxruntime rest between its calls, so that they
take nothing from the subject whose turn is next.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.bench.layers import PACKED, PRESSES, packed_layers, pressed_layers
from frenchpress.bench.timing import Subject, interleave
from frenchpress.common import UserError
from frenchpress.export.graph import GraphBuilder, LstmArrays, add_lstm_stack
from frenchpress.export.packages import require
from frenchpress.export.session import open_session
from frenchpress.packed.runtime import Runtime, library

ORT_FLOAT, ORT_INT8 = "onnxruntime, float", "onnxruntime, int8"
THREADS = 1, 2
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""Of a machine that others use too, the second says more."""


class Unavailable(Exception):
    """Why a runtime has no subject for a case, in one line."""


@dataclass(frozen=True)
class Case:
    """What every runtime is timed on: `frames` frames of `batch` utterances, in one call or (`streaming`) one each."""

    inputs: int
    cells: int
    layers: int
    frames: int
    streaming: bool
    threads: int
    seed: int
    batch: int = 1

    @property
    def title(self) -> str:
        """For the head of a table."""
        how = "frame by frame" if self.streaming else f"{self.frames} frames at once"
        return f"{how}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def features(self) -> Tensor:
        """Inputs, float32 [frames, batch, inputs]."""
        return torch.randn(self.frames, self.batch, self.inputs, generator=torch.Generator().manual_seed(self.seed))

    def torch_subject(self, name: str, run: Callable[[], None]) -> Subject:
        """`run`, in inference mode on as many threads of torch as the case has."""

        def with_threads() -> None:
            torch.set_num_threads(self.threads)
            with torch.inference_mode():
                run()

        return Subject(name, with_threads, self.frames * self.batch)


def reference_lstm(case: Case) -> nn.LSTM:
    """The float LSTM that torch and onnxruntime compute."""
    torch.manual_seed(case.seed)
    return nn.LSTM(case.inputs, case.cells, case.layers).eval()


def _torch_run(case: Case, lstm: Callable[..., Any]) -> Callable[[], None]:
    features = case.features()
    frames = features.split(1)

    def whole() -> None:
        lstm(features)

    def stream() -> None:
        state = None
        for frame in frames:
            _, state = lstm(frame, state)

    return stream if case.streaming else whole


def torch_subjects(case: Case) -> list[Subject]:
    """torch.nn.LSTM in float: as torch chooses, and without oneDNN, which lays out the weights anew in each call."""
    run = _torch_run(case, reference_lstm(case))

    def without_onednn() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a setting for GPUs, which is touched too
            with torch.backends.mkldnn.flags(enabled=False):
                run()

    runs = {"": run, ", without oneDNN": without_onednn}
    return [case.torch_subject(f"torch.nn.LSTM, float{how}", run_) for how, run_ in runs.items()]


def torch_int8_subjects(case: Case) -> list[Subject]:
    """torch.nn.LSTM through torch's dynamic quantization, int8 weights."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will be removed one day
            from torch.ao.quantization import quantize_dynamic

            # It replaces modules within a module, never the outermost.
            (lstm,) = quantize_dynamic(nn.Sequential(reference_lstm(case)), {nn.LSTM}, torch.qint8)
    except (ImportError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise Unavailable(f"torch.nn.LSTM, dynamic int8: not in torch {torch.__version__} ({reason})") from None
    return [case.torch_subject("torch.nn.LSTM, dynamic int8", _torch_run(case, lstm))]


def lstm_graph(lstm: nn.LSTM, batch: int = 1) -> bytes:
    """ONNX file of a float LSTM: `x` [T, batch, inputs] -> `y` [T, batch, cells], states as in `add_lstm_stack`."""
    graph, layers = GraphBuilder(), {}
    for i in range(lstm.num_layers):
        keys = (f"{kind}_l{i}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        inputs, recurrent, *biases = (getattr(lstm, key).detach().numpy() for key in keys)
        layers[f"lstm{i}"] = LstmArrays(inputs, recurrent, sum(biases))
    y = add_lstm_stack(graph, graph.input("x", ("T", batch, lstm.input_size)), layers, batch)
    graph.output(graph.node("Identity", [y], "y"), ("T", batch, lstm.hidden_size))
    return graph.model("lstm").SerializeToString()


def int8_graph(exported: bytes) -> bytes:
    """The same through onnxruntime's dynamic quantization with its defaults, int8 weights."""
    quantization = require("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("float.onnx", "int8.onnx")]
        paths[0].write_bytes(exported)
        logging.disable(logging.WARNING)  # advice on preprocessing, which an LSTM has no use for
        try:
            quantization.quantize_dynamic(*paths, weight_type=quantization.QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        return paths[1].read_bytes()


@cache
def _graphs(inputs: int, cells: int, layers: int, seed: int, batch: int = 1) -> dict[str, bytes]:
    exported = lstm_graph(reference_lstm(Case(inputs, cells, layers, 1, False, 1, seed)), batch)
    return {ORT_FLOAT: exported, ORT_INT8: int8_graph(exported)}


def _onnx_run(case: Case, exported: bytes) -> Callable[[], None]:
    session, features = open_session(exported, case.threads), case.features().numpy()
    frames = [features[i : i + 1] for i in range(len(features))]

    def whole() -> None:
        session.run(["y"], {"x": features})

    def stream() -> None:
        states = {}
        for frame in frames:
            _, h, c = session.run(["y", "hn", "cn"], {"x": frame, **states})
            states = {"h0": h, "c0": c}

    return stream if case.streaming else whole


def onnx_subjects(case: Case) -> list[Subject]:
    """onnxruntime on a graph of one LSTM operator per layer, float and int8."""
    try:
        for package in ("onnx", "onnxruntime"):
            require(package)
    except UserError as error:
        raise Unavailable(f"onnxruntime: {error}") from None
    graphs = _graphs(case.inputs, case.cells, case.layers, case.seed, case.batch)
    return [Subject(name, _onnx_run(case, exported), case.frames * case.batch) for name, exported in graphs.items()]


def pressed_subjects(case: Case) -> list[Subject]:
    """The layers that train, in evaluation; at batch 1 torch computes them, quantizing the weights in each call."""
    if case.streaming:
        raise Unavailable("layers of frenchpress.nnet, frame by frame: they carry no state from call to call")
    subjects, features = [], case.features().transpose(0, 1)
    for name, press in PRESSES.items():
        model = pressed_layers(case.inputs, case.cells, case.layers, press, case.seed).eval()
        subjects.append(case.torch_subject(f"{name}, frenchpress.nnet", lambda model=model: model(features)))
    return subjects


def packed_run(case: Case, runtime: Runtime) -> Callable[[], None]:
    """The frames of the case through a packed model; a batch as streams, one after the other."""
    utterances = [utterance.contiguous().numpy() for utterance in case.features().unbind(1)]
    streams = [runtime.stream() for _ in utterances]
    turns = [
        (stream, utterance[t : t + 1]) for t in range(case.frames) for stream, utterance in zip(streams, utterances)
    ]

    def whole() -> None:
        for utterance in utterances:
            runtime.logits(utterance)

    def frame_by_frame() -> None:
        for stream in streams:
            stream.reset()
        for stream, frame in turns:
            stream.push(frame)

    return frame_by_frame if case.streaming else whole


def packed_subjects(case: Case) -> list[Subject]:
    """Pressed layers packed as integers, with the smallest head there can be; the runtime has one thread."""
    if library() is None:
        raise Unavailable("packed integers: the runtime was not built (no C compiler)")
    if case.threads > 1:
        raise Unavailable("packed integers on more threads: a stream has one")
    subjects = []
    for name, press in PACKED.items():
        runtime = packed_layers(case.inputs, case.cells, case.layers, press, case.seed)
        subjects.append(Subject(f"{name}, packed", packed_run(case, runtime), case.frames * case.batch))
    return subjects


RUNTIMES = torch_subjects, torch_int8_subjects, onnx_subjects, pressed_subjects, packed_subjects


def collect(case: Case) -> tuple[list[Subject], list[str]]:
    """Subjects of every runtime for a case, and a line on each one that has none."""
    subjects, notes = [], []
    for runtime in RUNTIMES:
        try:
            subjects += runtime(case)
        except Unavailable as reason:
            notes.append(str(reason))
    return subjects, notes


def print_times(title: str, subjects: list[Subject], against: Sequence[str] = (ORT_INT8, ORT_FLOAT)) -> None:
    """A table: microseconds per frame, and speed as a ratio to the subjects named in `against`."""
    by_name = {s.name: s for s in subjects}
    references = [by_name[name] for name in against if name in by_name]
    heads = "".join(f"{f'to {r.name}':>24s}" for r in references)
    print(f"\n{f'inference, {title}':46s} {'us/frame':>9s}{heads}")
    for s in subjects:
        ratios = "".join(f"{s.ratio(r):23.2f}x" for r in references)
        print(f"  {s.name:44s} {s.microseconds_per_frame:9.1f}{ratios}")


def run_inference(args: argparse.Namespace) -> None:
    """Time it and print the tables: microseconds per frame, and speed as a ratio to onnxruntime's."""
    # Processor seconds add up over threads.
    threads = [n for n in THREADS if n <= (1 if args.clock == "cpu" else os.cpu_count() or 1)]
    before, found, notes = torch.get_num_threads(), {}, {}
    for streaming, n in itertools.product((False, True), threads):
        frames = args.stream_frames if streaming else args.frames
        case = Case(args.inputs, args.cells, args.layers, frames, streaming, n, args.seed)
        found[case.title], missing = collect(case)
        notes |= dict.fromkeys(missing)
    try:
        interleave([s for subjects in found.values() for s in subjects], args.repeats, clock=CLOCKS[args.clock])
    finally:
        torch.set_num_threads(before)
    for title, subjects in found.items():
        print_times(title, subjects)
    for note in notes:
        print(f"left out: {note}")
