import itertools

import numpy as np
import pytest
from small import TOPO, mono, triphones

from frenchpress.common import UserError
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.model import Model
from frenchpress.gmm.nets import HmmStates, build_net, check_topology
from frenchpress.gmm.viterbi import align, best_paths, scaled_log_probs
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.io import read_mats
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.tree import read_tree

SIL_PROB = 0.3


def pronunciations(phones, sil_prob):
    """Every placing of optional silence, with its log-probability."""
    places = len(phones) + 1
    for chosen in itertools.product([False, True], repeat=places if sil_prob else 0):
        sequence = []
        for place in range(places):
            if chosen and chosen[place]:
                sequence.append(1)
            if place < len(phones):
                sequence.append(phones[place])
        log_prob = sum(np.log(sil_prob if c else 1 - sil_prob) for c in chosen)
        yield sequence, log_prob


def brute_force(phones, states, acoustic, log_probs, tid2pdf, sil_prob):
    """Best score and path over all pronunciations and all segmentations, by dynamic programming per state sequence."""
    best = (-np.inf, None)
    for sequence, prior in pronunciations(phones, sil_prob):
        padded = [0, *sequence, 0]
        windows = [tuple(padded[k : k + 3]) for k in range(len(sequence))]
        tids = np.concatenate([states(w if states.tree.N == 3 else w[1:2]) for w in windows])
        if len(tids) > len(acoustic):
            continue
        for ends in itertools.combinations(range(1, len(acoustic)), len(tids) - 1):
            bounds = [0, *ends, len(acoustic)]
            score, path = prior, []
            for (forward, loop), begin, end in zip(tids, bounds, bounds[1:]):
                path += [forward] + [loop] * (end - begin - 1)
            score += sum(log_probs[t] + acoustic[k, tid2pdf[t]] for k, t in enumerate(path))
            if score > best[0]:
                best = (score, path)
    return best


@pytest.mark.parametrize("make", [mono, triphones])
@pytest.mark.parametrize("sil_prob", [0.0, SIL_PROB])
def test_best_path_equals_brute_force(make, sil_prob):
    tree, transitions = make()
    rng = np.random.default_rng(1)
    transitions.log_probs = np.log(rng.random(len(transitions.log_probs)) * 0.8 + 0.1).astype(np.float32)
    log_probs = scaled_log_probs(transitions, 1.0)
    states = HmmStates(transitions, tree)
    transcripts = [[2], [3, 4], [2, 2]] if sil_prob else [[2, 4], [3, 1], [2, 2]]
    lengths = [9, 10, 8]
    nets = [build_net(phones, states, 1, sil_prob) for phones in transcripts]
    scores = [rng.normal(size=(n, transitions.num_pdfs)).astype(np.float32) * 3 for n in lengths]
    seen = [s[:, transitions.tid2pdf[net.forward]] for s, net in zip(scores, nets)]
    for phones, matrix, found in zip(transcripts, scores, best_paths(nets, seen, log_probs)):
        score, path = brute_force(phones, states, matrix, log_probs, transitions.tid2pdf, sil_prob)
        assert found is not None
        assert found[1] == pytest.approx(score, abs=1e-3)
        assert found[0].tolist() == [int(t) for t in path]


@pytest.mark.parametrize("make", [mono, triphones])
@pytest.mark.parametrize("sil_prob", [0.0, SIL_PROB])
def test_the_best_of_several_pronunciations_equals_brute_force(make, sil_prob):
    tree, transitions = make()
    rng = np.random.default_rng(3)
    log_probs = scaled_log_probs(transitions, 1.0)
    states = HmmStates(transitions, tree)
    words = [[([2, 4], -0.1), ([3], -0.7), ([2, 3], -1.2), ([4, 4], -0.2)], [([4], 0.0), ([3], -0.3)]]
    words = words[:1] if sil_prob else words
    net = build_net(words, states, 1, sil_prob)
    won = set()
    for _ in range(12):
        scores = rng.normal(size=(10, transitions.num_pdfs)).astype(np.float32) * 3
        path, score = best_paths([net], [scores[:, transitions.tid2pdf[net.forward]]], log_probs)[0]
        tried = []
        for said in itertools.product(*words):
            phones, prior = [p for w, _ in said for p in w], sum(log_prob for _, log_prob in said)
            best, tids = brute_force(phones, states, scores, log_probs, transitions.tid2pdf, sil_prob)
            tried.append((best + prior, tuple(phones), tids))
        best, phones, tids = max(tried, key=lambda one: one[0])
        assert score == pytest.approx(best, abs=1e-3) and path.tolist() == [int(t) for t in tids]
        won.add(phones)
    assert len(won) > 1


def test_nets_with_and_without_choices_share_a_batch():
    tree, transitions = triphones()
    states, log_probs = HmmStates(transitions, tree), scaled_log_probs(transitions)
    plain = build_net([2, 4, 3], states, 1, 0.1)
    one_each = build_net([[([2, 4], 0.0)], [([3], 0.0)]], states, 1, 0.1)
    for name in ("forward", "loop", "previous", "entry", "start", "final"):
        assert np.array_equal(getattr(plain, name), getattr(one_each, name)), name
    several = build_net([[([2], 0.0), ([3], 0.0), ([4], 0.0), ([3, 4], 0.0)], 3], states, 1, 0.1)
    assert several.previous.shape[1] > 2
    rng = np.random.default_rng(4)
    heard = [rng.normal(size=(20, len(net))).astype(np.float32) for net in (plain, several)]
    together = best_paths([plain, several], heard, log_probs)
    for net, matrix, found in zip((plain, several), heard, together):
        assert best_paths([net], [matrix], log_probs)[0][0].tolist() == found[0].tolist()


def test_too_few_frames_give_no_path():
    tree, transitions = mono()
    net = build_net([2, 3], HmmStates(transitions, tree), 1, 0.1)
    log_probs = scaled_log_probs(transitions)
    short, enough = (np.zeros((n, len(net)), np.float32) for n in (5, 6))
    found = best_paths([net, net], [short, enough], log_probs)
    assert found[0] is None
    assert found[1] is not None and len(found[1][0]) == 6


def random_setting(make, num_utts=30):
    rng = np.random.default_rng(2)
    tree, transitions = make()
    parts = [(np.ones(1), 2 * rng.normal(size=(1, 3)), np.ones((1, 3))) for _ in range(transitions.num_pdfs)]
    states = HmmStates(transitions, tree)
    transcripts = [rng.integers(2, 5, rng.integers(1, 6)).tolist() for _ in range(num_utts)]
    feats = [2 * rng.normal(size=(rng.integers(20, 60), 3)).astype(np.float32) for _ in transcripts]
    nets = [build_net(phones, states, 1, 0.2) for phones in transcripts]
    return Model(transitions, tree, GmmSet.pack(parts)), nets, feats


def test_batches_and_threads_do_not_matter():
    model, nets, feats = random_setting(triphones)
    lengths = [len(f) for f in feats]
    together = align(nets, feats.__getitem__, lengths, model.transitions, model.gmms, threads=2)
    for k in range(0, len(nets), 7):
        alone = align([nets[k]], lambda _, k=k: feats[k], lengths[k : k + 1], model.transitions, model.gmms)[0]
        assert together[k][0].tolist() == alone[0].tolist()


def test_a_path_spells_its_transcript():
    model, nets, feats = random_setting(triphones)
    found = align(nets, feats.__getitem__, [len(f) for f in feats], model.transitions, model.gmms)
    tm = model.transitions
    for tids, _ in found:
        enters = ~tm.tid2is_self_loop[tids]
        states = tm.tid2hmm_state[tids][enters]
        assert (np.diff(states) % 3 == 1).all() and states[0] == 0 and states[-1] == 2


def test_topologies_other_than_a_row_of_states_are_refused():
    skipping = HmmState(0, ((0, 0.5), (1, 0.25), (2, 0.25)), 0)
    topo = HmmTopology([[skipping, HmmState(1, ((1, 0.5), (2, 0.5)), 1), HmmState(-1, (), -1)]], {1: 0})
    with pytest.raises(UserError, match="phone 1, state 0"):
        check_topology(topo)
    check_topology(TOPO)


def test_alignment_equals_kaldis(kaldi_mboshi):
    """Ten utterances, each frame: monophones with optional silence, against Kaldi's beam search."""
    transitions, am = read_model(kaldi_mboshi / "exp/mono/final.mdl")
    states = HmmStates(transitions, read_tree(kaldi_mboshi / "exp/mono/tree"))
    symbols = dict(line.split() for line in (kaldi_mboshi / "data/lang_test_bg/phones.txt").open())
    text = {line.split()[0]: line.split()[1:] for line in (kaldi_mboshi / "data/test/text").open()}
    feats = dict(read_mats(kaldi_mboshi / "golden/mfcc_cmvn_deltas.ark"))
    utts = sorted(feats)
    nets = [build_net([int(symbols[p]) for p in text[utt]], states, 1, 0.1) for utt in utts]
    lengths = [len(feats[utt]) for utt in utts]
    found = align(nets, lambda k: feats[utts[k]], lengths, transitions, GmmSet.from_am(am))
    for name, lookup in (("phones", transitions.tid2phone), ("pdfs", transitions.tid2pdf)):
        lines = (kaldi_mboshi / f"golden/mono_align_{name}.txt").read_text().splitlines()
        golden = {line.split()[0]: [int(x) for x in line.split()[1:]] for line in lines}
        assert len(golden) == 10
        for utt, path in zip(utts, found):
            assert lookup[path[0]].tolist() == golden[utt], (name, utt)
