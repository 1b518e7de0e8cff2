"""The compiler's part of the benchmark: what it times and prints, and where a format loses to dense."""

import argparse
import re

import pytest

pytest.importorskip("tvm", reason="the compiler is an extra: pip install -e '.[tvm]'")

from frenchpress.bench import compiler, movement  # noqa: E402
from frenchpress.bench.inference import Unavailable  # noqa: E402

ARGS = argparse.Namespace(
    inputs=40, cells=64, layers=1, frames=4, stream_frames=3, repeats=1, seed=0, clock="wall", plot_dir=None
)


def test_formats_stand_beside_other_runtimes(monkeypatch, capsys):
    def no_runtime(case):
        raise Unavailable("no runtime")

    monkeypatch.setattr(compiler, "MASKS", ("w8a16_magnitude16x",))
    monkeypatch.setattr(compiler, "packed_subjects", no_runtime)
    compiler.run_compiler(ARGS)
    out = capsys.readouterr().out
    tables = out.split("\ninference, ")[1:]
    assert len(tables) == 2 and "to w8a16, TVM dense" in tables[0] and out.count("left out: no runtime") == 2
    for table in tables:
        names = re.findall(r"^  (\S.*?) +[\d.]+ +[\d.]+x", table, re.M)
        expected = ["w8a16, TVM dense", *(f"w8a16_magnitude16x, TVM {kind}" for kind in ("blocks", "banks", "csr"))]
        assert names[:4] == expected


def test_every_format_is_timed_over_densities(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[plot]'")
    monkeypatch.setattr(compiler, "DENSITIES", (0.125, 0.5))
    compiler.run_density(argparse.Namespace(**{**vars(ARGS), "plot_dir": tmp_path / "plots"}))
    rows = re.findall(r"^(\w+)(?: +[\d.]+){2} +(?:[\d.]+|inf)$", capsys.readouterr().out, re.M)
    assert rows == ["blocks", "banks", "csr"]
    assert (tmp_path / "plots" / "density.svg").stat().st_size > 0


def test_lists_stand_beside_all_columns(monkeypatch, capsys):
    monkeypatch.setattr(movement, "LISTED", ("w8a16",))
    monkeypatch.setattr(movement, "THRESHOLDS", ((1.0, 0.012),))
    movement.run_lists(ARGS)
    out = capsys.readouterr().out
    assert "movement, w8a16, compiled by TVM" in out
    (row,) = re.findall(r"^  1 and 0.012 +([\d.]+) %" + r" +[\d.]+ us +[\d.]+ us +[\d.]+x" * 2 + "$", out, re.M)
    assert 0 < float(row) < 100


def test_break_even_by_hand():
    """From 1 to 4 us between densities 1/16 and 1/4: 2 us at their middle on a scale of factors."""
    assert compiler.break_even({1 / 16: 1.0, 1 / 4: 4.0}, 2.0) == pytest.approx(1 / 8)
    assert compiler.break_even({1 / 16: 1.0, 1 / 4: 4.0}, 9.0) == float("inf")
    assert compiler.break_even({1 / 16: 1.0, 1 / 4: 4.0}, 0.5) == 0
