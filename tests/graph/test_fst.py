"""Transducers as arrays: the same arcs as kaldifst's, both file types, damaged files."""

import kaldifst
import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.graph.fst import FstArcs, arcs_from_rows, read_fst, write_fst


def toy():
    finals = np.array([np.inf, 0.5, np.inf], np.float32)
    return arcs_from_rows(0, finals, [(0, 1, 2, 0.25, 1), (2, 3, 0, 1.5, 0), (0, 4, 4, 0.0, 2)])


def by_iterator(fst):
    arcs = [
        (s, a.ilabel, a.olabel, a.weight.value, a.nextstate)
        for s in kaldifst.StateIterator(fst)
        for a in kaldifst.ArcIterator(fst, s)
    ]
    return arcs, [fst.final(s).value for s in kaldifst.StateIterator(fst)]


def rows(arcs):
    columns = (arcs.src, arcs.ilabel, arcs.olabel, arcs.weight, arcs.dst)
    return list(zip(*(c.tolist() for c in columns)))


def test_there_and_back_keeps_every_arc():
    fst = toy().build()
    assert rows(FstArcs.of(fst)) == [(0, 1, 2, 0.25, 1), (0, 4, 4, 0.0, 2), (2, 3, 0, 1.5, 0)]
    assert by_iterator(fst) == (rows(FstArcs.of(fst)), [np.inf, 0.5, np.inf])
    assert fst.start == 0


@pytest.mark.parametrize("name", ["data/lang_test_bg/G.fst", "exp/mono/graph/HCLG.fst"])
def test_reads_kaldis_files_of_both_types(kaldi_mboshi, name):
    fst = read_fst(kaldi_mboshi / name)
    arcs = FstArcs.of(fst)
    assert (rows(arcs), arcs.finals.tolist()) == by_iterator(fst)


def test_empty_and_arcless():
    empty = FstArcs.of(kaldifst.StdVectorFst())
    assert (empty.num_states, empty.num_arcs, empty.start) == (0, 0, -1)
    lone = FstArcs.of(arcs_from_rows(0, np.zeros(1, np.float32), []).build())
    assert (lone.num_states, lone.num_arcs, lone.finals.tolist()) == (1, 0, [0.0])


def test_damaged_files_are_named(tmp_path):
    whole = tmp_path / "whole.fst"
    write_fst(whole, toy().build())
    (tmp_path / "cut.fst").write_bytes(whole.read_bytes()[:-10])
    (tmp_path / "text.fst").write_text("0 1 2 3\n")
    for name, why in (("cut.fst", "cut short"), ("text.fst", "not an OpenFst"), ("none.fst", "no such file")):
        with pytest.raises(UserError, match=f"{name}: .*{why}"):
            read_fst(tmp_path / name)
