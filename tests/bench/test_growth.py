"""The growth part of the benchmark: its tables, its plots, its limits."""

import argparse
import re

import numpy as np
import pytest
import torch

from frenchpress.bench import growth, limits, streams
from frenchpress.bench.inference import Case, packed_run
from frenchpress.bench.layers import PACKED, packed_layers
from frenchpress.bench.limits import Limits, macs_subject, read_subject
from frenchpress.bench.timing import Subject
from frenchpress.common import UserError
from frenchpress.packed import runtime
from frenchpress.packed.runtime import LEVELS


@pytest.fixture(autouse=True)
def compiled():
    threads = torch.get_num_threads()
    loaded = runtime.library()
    if loaded is None or not hasattr(loaded, "fp_limit_macs"):
        pytest.skip("the runtime was not built: no compiler")
    yield
    torch.set_num_threads(threads)


def arguments(tmp_path=None):
    return argparse.Namespace(
        inputs=40, cells=64, layers=1, frames=6, stream_frames=4, repeats=1, seed=0, quick=True, plot_dir=tmp_path
    )


def test_prints_tables_and_writes_plots(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[plot]'")
    growth.run_growth(arguments(tmp_path / "plots"))
    out = capsys.readouterr().out
    points = re.findall(r"^ +(\d+) +(\d+) +(\d+) +\d+\.\d\d +\d+\.\d\d +[\d.]+% +[\d.]+% +[\d.]+%", out, re.M)
    assert [int(x) for x, _, _ in points] == [64, 128, 1, 16]
    # Of dense matrices a byte a weight; tiles of 18 bytes for 16 weights, windows of 66 for 32, or both.
    assert all(16 <= 16 * int(size) / int(macs) <= 33 for _, macs, size in points)
    assert int(points[2][1]) > 5 * int(points[3][1])  # dense, and 16x as far as two blocks in a row allow
    assert "growth with streams, 1 x 64 cells, one thread, frame by frame" in out
    assert re.search(r"^  w8a16_hcgs16x, packed +\d+\.\d\d +\d+\.\d\d$", out, re.M)
    assert out.count("of reading  ") == 2 + 2  # heads of tables, and two models frame by frame
    for name in growth.SWEEPS:
        assert (tmp_path / "plots" / f"growth_{name}.svg").is_file()


def test_compression_is_what_it_says():
    for factor, keep in growth.KEEP.items():
        press = growth._press(factor)
        assert (press.hcgs is None) == (keep is None)
        assert press.hcgs is None or press.hcgs.asked_density * factor == 1


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_limits_count_what_they_do(level):
    model = packed_layers(40, 64, 1, PACKED["w8a16"], 0)
    if level > (model.level or 0):
        pytest.skip(f"this machine has no {LEVELS[level]}")
    functions = limits._functions()
    assert functions.fp_limit_macs(level, 7) * 3 == functions.fp_limit_macs(level, 21) > 0
    data = np.arange(1024, dtype=np.uint64)
    assert functions.fp_limit_read(level, data.ctypes.data, data.nbytes, 3) == 3 * int(data.sum())
    assert read_subject(level, 1000).frames % 1024 == 0 and macs_subject(level).frames > 1e6


def test_shares_are_of_the_best_round():
    macs, read = Subject("macs", lambda: None, 1000), Subject("read", lambda: None, 100)
    macs.times, read.times = [1.0, 2.0, 9.0], [0.5, 1.0, 1.0]
    run = Subject("run", lambda: None, 10)
    run.times = [1.0, 2.0, 3.0]
    found = Limits(macs, read)
    assert found.shares(run, 20, 4) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.least_microseconds(20, 4) == pytest.approx(20_000)


def test_streams_are_apart(monkeypatch):
    """What each stream gets is its own utterance."""
    model, seen = packed_layers(40, 64, 1, PACKED["w8a16"], 0), []
    case = Case(40, 64, 1, frames=3, streaming=True, threads=1, seed=0, batch=2)

    class Stream:
        def __init__(self):
            seen.append([])
            self.mine = seen[-1]

        def reset(self):
            self.mine.clear()

        def push(self, frame):
            self.mine.append(frame[0])

    monkeypatch.setattr(type(model), "stream", lambda self: Stream())
    packed_run(case, model)()
    assert np.array_equal(np.array(seen), case.features().transpose(0, 1).numpy())


def test_streams_share_the_frames():
    case = streams.case_of(arguments(), 64, streaming=False, streams=3)
    assert (case.frames, case.batch) == (2, 3)


def test_an_absent_runtime_is_said(monkeypatch):
    monkeypatch.setattr(limits, "library", lambda: None)
    with pytest.raises(UserError, match="the compiled runtime is missing or old"):
        growth.run_growth(arguments())
