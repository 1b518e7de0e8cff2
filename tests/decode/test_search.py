"""Search: against Kaldi's lattice decoder on its own graph and scores, and on a graph small enough to enumerate."""

import itertools
import subprocess
import sys

import kaldifst
import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.decode.search import Decoder, decode_all, read_symbols
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.io import read_mats


def table(path, cast):
    return {fields[0]: [cast(x) for x in fields[1:]] for line in path.open() if (fields := line.split())}


@pytest.fixture(scope="module")
def kaldi(kaldi_mboshi):
    transitions, _ = read_model(kaldi_mboshi / "exp/tri3/final.mdl")
    graph = kaldi_mboshi / "exp/tri3/graph"
    decoder = Decoder(graph / "HCLG.fst", transitions.tid2pdf, graph / "words.txt")
    loglikes = dict(read_mats(kaldi_mboshi / "golden/tri3_loglikes.ark"))
    return decoder, transitions, loglikes, kaldi_mboshi / "golden"


def test_best_paths_are_kaldis(kaldi):
    decoder, transitions, loglikes, golden = kaldi
    words, alignments = table(golden / "best_path.txt", str), table(golden / "best_path_alignment.txt", int)
    graph_costs, acoustic_costs = (table(golden / f"best_path_{k}_cost.txt", float) for k in ("lm", "ac"))
    for utt, found in decode_all(decoder, loglikes.items(), 0.1):
        assert found.words == words[utt]
        assert np.array_equal(transitions.tid2pdf[found.alignment], transitions.tid2pdf[alignments[utt]])
        assert found.graph_cost == pytest.approx(graph_costs[f"{utt}-1"][0], rel=1e-5)
        assert found.acoustic_cost == pytest.approx(acoustic_costs[f"{utt}-1"][0], rel=1e-5)
        assert found.reached_final


def test_lm_weights_agree_with_searches_of_their_own(kaldi):
    """LM weight w orders paths as acoustic scale 1 / w does; a lattice made at 10 knows nearly all of them at 7."""
    decoder, _, loglikes, _ = kaldi
    some = {utt: loglikes[utt] for utt in list(loglikes)[:3]}
    for utt, found in decode_all(decoder, some.items(), 0.1, [10, 7, 4]):
        assert found.by_lm_weight[10] == found.words
        assert found.by_lm_weight[7] == decoder.decode(loglikes[utt], 1 / 7).words
        assert len(found.by_lm_weight[4]) >= len(found.words)


def test_several_processes_find_the_same(kaldi):
    decoder, _, loglikes, _ = kaldi
    some = [(utt, scores[:90]) for utt, scores in list(loglikes.items())[:7]]
    alone = list(decode_all(decoder, some, 0.1, [5]))
    together = list(decode_all(decoder, some, 0.1, [5], nj=3))
    assert [(u, d.words, d.by_lm_weight, d.graph_cost) for u, d in together] == [
        (u, d.words, d.by_lm_weight, d.graph_cost) for u, d in alone
    ]
    assert [d.alignment.tolist() for _, d in together] == [d.alignment.tolist() for _, d in alone]


BIGRAM = {("", "a"): 0.2, ("", "b"): 1.5, ("a", "a"): 1.0, ("a", "b"): 0.5, ("b", "a"): 2.5, ("b", "b"): 0.7}
FINAL = {"a": 0.3, "b": 1.1}


def small_graph(tmp_path):
    """Two words, one column each (labels 1 and 2), a word at every frame, bigram costs."""
    state = {"": 0, "a": 1, "b": 2}
    label = {"a": 1, "b": 2}
    arcs = [f"{state[h]} {state[w]} {label[w]} {label[w]} {c}" for (h, w), c in BIGRAM.items()]
    finals = [f"{state[w]} {c}" for w, c in FINAL.items()]
    fst = kaldifst.compile("\n".join(arcs + finals), acceptor=False)
    assert fst.write(str(tmp_path / "HCLG.fst"))
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\nb 2\n")
    return tmp_path / "HCLG.fst", tmp_path / "words.txt"


def cheapest(loglikes, lm_weight):
    def cost(path):
        graph = sum(BIGRAM[pair] for pair in zip(("", *path), path)) + FINAL[path[-1]]
        acoustic = -sum(loglikes[t, "ab".index(w)] for t, w in enumerate(path))
        return lm_weight * graph + acoustic

    return list(min(itertools.product("ab", repeat=len(loglikes)), key=cost))


def test_every_lm_weight_gets_its_cheapest_path(tmp_path):
    hclg, words = small_graph(tmp_path)
    decoder = Decoder(hclg, None, words, beam=1000, lattice_beam=1000)
    rng = np.random.default_rng(5)
    weights = [0.5, 1, 2, 3, 5, 8]
    for _ in range(10):
        loglikes = rng.normal(0, 2, (7, 2)).astype(np.float32)
        found = decoder.decode(loglikes, 0.5, weights)
        assert found.words == found.by_lm_weight[2] == cheapest(loglikes, 2)
        assert found.by_lm_weight == {w: cheapest(loglikes, w) for w in weights}
        assert ["ab"[label - 1] for label in found.alignment] == found.words


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_frames_as_they_come_find_the_same_path(kaldi, piece):
    decoder, _, loglikes, _ = kaldi
    utt, scores = next(iter(loglikes.items()))
    whole, search = decoder.decode(scores, 0.1), decoder.stream(0.1)
    for k in range(0, len(scores), piece):
        search.push(scores[k : k + piece], utt)
        assert search.frames == min(k + piece, len(scores))
    assert len(search.path(False)) == search.frames
    assert np.array_equal(search.path(True), whole.alignment)
    with pytest.raises(UserError, match="utt7: log-likelihoods are not finite"):
        search.push(np.full_like(scores[:1], np.nan), "utt7")


@pytest.mark.parametrize("limits", [{"max_active": 20}, {"beam": 3.0, "min_active": 2}])
def test_narrow_searches_miss_the_best_path(kaldi, limits):
    decoder, transitions, loglikes, golden = kaldi
    graph = golden.parent / "exp/tri3/graph"
    narrow = Decoder(graph / "HCLG.fst", transitions.tid2pdf, graph / "words.txt", **limits)
    some = list(loglikes.items())[:3]
    costs = [
        sum(found.graph_cost + 0.1 * found.acoustic_cost for _, found in decode_all(d, some, 0.1))
        for d in (decoder, narrow)
    ]
    assert costs[0] < costs[1] - 1


@pytest.mark.parametrize(
    ("loglikes", "message"),
    [
        (np.zeros((0, 2), np.float32), "utt7: nothing to decode"),
        (np.full((3, 2), np.nan, np.float32), "utt7: log-likelihoods are not finite"),
        (np.zeros((3, 1), np.float32), "utt7: 1 columns .* needs 2"),
    ],
)
def test_scores_that_cannot_be_decoded(tmp_path, loglikes, message):
    decoder = Decoder(small_graph(tmp_path)[0], None, tmp_path / "words.txt")
    with pytest.raises(UserError, match=message):
        decoder.decode(loglikes, 1.0, utt="utt7")


def test_errors_come_back_from_processes(tmp_path):
    decoder = Decoder(small_graph(tmp_path)[0], None, tmp_path / "words.txt")
    items = [(f"utt{n}", np.full((3, 2), np.nan if n == 4 else 0, np.float32)) for n in range(9)]
    with pytest.raises(UserError, match="utt4: log-likelihoods are not finite"):
        list(decode_all(decoder, items, 1.0, nj=2))
    with pytest.raises(UserError, match="max_active 1"):
        Decoder(tmp_path / "HCLG.fst", None, tmp_path / "words.txt", max_active=1)
    with pytest.raises(UserError, match="--nj 0"):
        list(decode_all(decoder, items, 1.0, nj=0))


def test_graph_of_another_model_is_refused(tmp_path):
    hclg, words = small_graph(tmp_path)
    with pytest.raises(UserError, match="transition-id 2, but the model has 1"):
        Decoder(hclg, np.array([0, 0]), words)
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\n")
    with pytest.raises(UserError, match="word 2 is not in its words.txt"):
        Decoder(hclg, None, words).decode(np.array([[-9, 0.0]], np.float32), 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\n", ":1: expected a word and its number"), ("a 1\nb 1\n", ":2: number 1 is there twice")],
)
def test_bad_symbol_table(tmp_path, text, message):
    (tmp_path / "words.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_symbols(tmp_path / "words.txt")


def test_workers_do_not_outlive_a_parent_that_is_killed():
    code = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from frenchpress.decode.search import _Worker
with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _Worker.start, (None, [], [])) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline()
        parent.kill()
        # The pipe ends when nobody holds it any more; a worker that lived on would.
        assert parent.communicate(timeout=60)[0] == ""
