"""The decoding graph: the same language and costs as Kaldi's, the same decoding, resumable."""

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.decode.search import Decoder, decode_all
from frenchpress.graph.fst import FstArcs, read_fst
from frenchpress.graph.mkgraph import compose_lg, make_graph
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.io import read_mats


@pytest.fixture(scope="module")
def graphs(tmp_path_factory, kaldi_mboshi):
    """Ours, made from Kaldi's model and lang directory, as (our directory, Kaldi's directory) per model."""
    out = tmp_path_factory.mktemp("graphs")
    for name in ("mono", "tri3"):
        assert make_graph(kaldi_mboshi / "data/lang_test_bg", kaldi_mboshi / "exp" / name, out / name)
    return {name: (out / name, kaldi_mboshi / "exp" / name / "graph") for name in ("mono", "tri3")}


def random_walk(arcs, rng):
    """Input labels of a random path to a final state, or None if it gets long."""
    state, labels = arcs.start, []
    while len(labels) < 200:
        choices = np.flatnonzero(arcs.src == state)
        if np.isfinite(arcs.finals[state]) and (len(labels) > 30 or not len(choices)):
            return labels
        arc = rng.choice(choices)
        if arcs.ilabel[arc]:
            labels.append(int(arcs.ilabel[arc]))
        state = arcs.dst[arc]
    return None


@pytest.mark.parametrize("name", ["mono", "tri3"])
def test_paths_and_costs_are_kaldis(graphs, best_path, name):
    ours, theirs = (read_fst(directory / "HCLG.fst") for directory in graphs[name])
    arcs = [FstArcs.of(fst) for fst in (ours, theirs)]
    assert arcs[0].num_arcs <= arcs[1].num_arcs and arcs[0].num_states <= arcs[1].num_states
    kaldis, checked = arcs[1].build(), 0
    rng = np.random.default_rng(0)
    for turn in range(60):
        labels = random_walk(arcs[turn % 2], rng)
        if labels:
            found, expected = best_path(ours, labels), best_path(kaldis, labels)
            # Minimization rounds each arc to 1/1024.
            assert found[0] == pytest.approx(expected[0], abs=0.01)
            assert [w for w in found[1] if w] == [w for w in expected[1] if w]
            checked += 1
    assert checked > 30


def test_decodes_as_kaldis(graphs, kaldi_mboshi):
    transitions, _ = read_model(kaldi_mboshi / "exp/tri3/final.mdl")
    ours = graphs["tri3"][0]
    decoder = Decoder(ours / "HCLG.fst", transitions.tid2pdf, ours / "words.txt")
    lines = (kaldi_mboshi / "golden/best_path.txt").read_text().splitlines()
    words = {line.split()[0]: line.split()[1:] for line in lines}
    costs = dict(line.split() for line in (kaldi_mboshi / "golden/best_path_lm_cost.txt").open())
    for utt, found in decode_all(decoder, read_mats(kaldi_mboshi / "golden/tri3_loglikes.ark"), 0.1):
        assert found.words == words[utt]
        assert found.graph_cost == pytest.approx(float(costs[f"{utt}-1"]), abs=0.02)


def test_lg_is_as_small_as_kaldis(kaldi_mboshi):
    lang = kaldi_mboshi / "data/lang_test_bg"
    ours = FstArcs.of(compose_lg(read_fst(lang / "L_disambig.fst"), read_fst(lang / "G.fst")))
    theirs = FstArcs.of(read_fst(lang / "tmp/LG.fst"))
    assert (ours.num_states, ours.num_arcs) == (theirs.num_states, theirs.num_arcs)


def test_made_once_and_again_the_same(graphs, kaldi_mboshi, tmp_path):
    lang, model, ours = kaldi_mboshi / "data/lang_test_bg", kaldi_mboshi / "exp/mono", graphs["mono"][0]
    assert not make_graph(lang, model, ours)
    assert make_graph(lang, model, tmp_path / "again")
    assert (tmp_path / "again/HCLG.fst").read_bytes() == (ours / "HCLG.fst").read_bytes()


def test_what_is_missing_is_said(kaldi_mboshi, tmp_path):
    with pytest.raises(UserError, match="final.mdl: no such file"):
        make_graph(kaldi_mboshi / "data/lang_test_bg", tmp_path, tmp_path / "graph")
