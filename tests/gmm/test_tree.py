import numpy as np
import pytest
from small import ROOTS, SETS, TOPO, corpus, mono

from frenchpress.common import UserError
from frenchpress.gmm.model import Model
from frenchpress.gmm.monophone import equal_alignment, initial_model
from frenchpress.gmm.questions import in_order, phone_questions, split_in_two
from frenchpress.gmm.train import Aligner
from frenchpress.gmm.treebuild import Root, build_tree, gmms_from_moments
from frenchpress.gmm.treestats import TreeStats, log_likelihood, segment, tree_stats
from frenchpress.gmm.triphone import convert
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import read_tree, write_tree


def moments_of(x):
    return np.concatenate([[len(x)], x.sum(0), (x**2).sum(0)])


def made_up_stats(seed=0, frames=400):
    """Phones 2 and 3 sound different after 2 than after 3 or 4; 4 is the same everywhere; 1 has no neighbours."""
    rng = np.random.default_rng(seed)
    windows, classes, rows = [], [], []
    for phone in (1, 2, 3, 4):
        contexts = [(0, 0)] if phone == 1 else [(left, right) for left in (0, 2, 3, 4) for right in (0, 1, 2, 3)]
        for left, right in contexts:
            for state in range(3):
                mean = np.array([10.0 * phone, 5.0 * state]) + (4.0 if phone in (2, 3) and left == 2 else 0.0)
                windows.append((left, phone, right))
                classes.append(state)
                rows.append(moments_of(mean + rng.normal(size=(frames, 2))))
    return TreeStats(np.array(windows), np.array(classes), np.array(rows))


QUESTIONS = [frozenset({k}) for k in (1, 2, 3, 4)] + [frozenset({2, 3})]


def test_the_likelihood_of_moments_is_that_of_the_frames():
    x = np.random.default_rng(0).normal(size=(500, 3)) * 2 + 1
    var = x.var(0)
    expected = -0.5 * (np.log(2 * np.pi * var) + (x - x.mean(0)) ** 2 / var).sum()
    assert log_likelihood(moments_of(x)) == pytest.approx(expected)
    assert log_likelihood(np.zeros(7)) == 0.0


def test_the_tree_finds_the_contexts_that_matter():
    tree, moments = build_tree(made_up_stats(), QUESTIONS, TOPO, ROOTS, max_leaves=60)
    for state in range(3):
        for phone in (2, 3):
            assert tree.pdf((2, phone, 3), state) == tree.pdf((2, phone, 0), state)
            assert tree.pdf((2, phone, 3), state) != tree.pdf((3, phone, 3), state)
            assert tree.pdf((4, phone, 3), state) == tree.pdf((0, phone, 1), state)
        assert len(tree.pdfs(4, state)) == 1
        assert len(tree.pdfs(1, state)) == 1
    # States are told apart: 3 for silence and phone 4, twice that for phones 2 and 3.
    assert tree.num_pdfs == len(moments) == 18


def test_moments_of_the_leaves_are_those_of_all_frames():
    stats = made_up_stats()
    tree, moments = build_tree(stats, QUESTIONS, TOPO, ROOTS, max_leaves=10)
    np.testing.assert_allclose(moments.sum(0), stats.moments.sum(0))
    assert tree.num_pdfs <= 10
    for row, (window, state) in enumerate(zip(stats.windows.tolist(), stats.pdf_class.tolist())):
        assert 0 <= tree.pdf(tuple(window), state) < len(moments), row
    gmms = gmms_from_moments(moments)
    assert gmms.num_pdfs == gmms.num_gauss == tree.num_pdfs


def test_more_leaves_never_fit_worse():
    stats = made_up_stats()
    fits = []
    for leaves in (4, 7, 12, 18):
        _, moments = build_tree(stats, QUESTIONS, TOPO, ROOTS, leaves)
        assert len(moments) <= leaves
        fits.append(log_likelihood(moments).sum())
    assert fits == sorted(fits) and fits[-1] > fits[0]


def test_roots_say_what_is_shared_and_what_is_split():
    roots = [Root((1,), shared=False, split=False), Root((2, 3)), Root((4,), split=False)]
    tree, _ = build_tree(made_up_stats(), QUESTIONS, TOPO, roots, 60)
    assert len({tree.pdf((0, 1, 0), state) for state in range(3)}) == 3
    assert len({tree.pdf((0, 4, 0), state) for state in range(3)}) == 1
    assert tree.pdf((0, 2, 0), 0) != tree.pdf((0, 3, 0), 0)
    with pytest.raises(UserError, match="2 leaves"):
        build_tree(made_up_stats(), QUESTIONS, TOPO, roots, 2)


def test_a_phone_that_never_occurs_gets_a_pdf_all_the_same():
    stats = made_up_stats()
    seen = stats.windows[:, 1] != 4
    stats = TreeStats(stats.windows[seen], stats.pdf_class[seen], stats.moments[seen])
    tree, moments = build_tree(stats, QUESTIONS, TOPO, ROOTS, 60)
    gmms = gmms_from_moments(moments)
    assert np.isfinite(gmms.part(tree.pdf((2, 4, 2), 1))[1]).all()


def test_a_tree_survives_its_file(tmp_path):
    tree, _ = build_tree(made_up_stats(), QUESTIONS, TOPO, ROOTS, 60)
    write_tree(tmp_path / "tree", tree)
    assert read_tree(tmp_path / "tree") == tree


def test_questions_group_what_sounds_alike():
    rng = np.random.default_rng(0)
    phones = {1: 0.0, 2: 10.0, 3: 10.5, 4: 30.0}
    rows = [moments_of(mean + rng.normal(size=(200, 2))) for mean in phones.values()]
    stats = TreeStats(np.array([(0, p, 0) for p in phones]), np.ones(4, int), np.array(rows))
    questions = phone_questions(stats, SETS)
    assert frozenset({2, 3}) in questions
    assert frozenset({1, 2, 3}) in questions
    assert {frozenset({p}) for p in phones} <= set(questions)
    assert frozenset({1, 4}) not in questions
    assert questions == in_order(reversed(questions))


def test_a_split_takes_the_two_clusters():
    rng = np.random.default_rng(1)
    rows = np.array([moments_of(mean + rng.normal(size=(50, 3))) for mean in (0, 9, 0.3, 9.2, -0.2)])
    second = split_in_two(rows)
    assert second.tolist() in ([False, True, False, True, False], [True, False, True, False, True])


def aligned_corpus():
    data, _ = corpus(12)
    tree, transitions = mono()
    data.phones = [[1, *phones, 1] for phones in data.phones]
    aligner = Aligner(data, 1, 0.0)
    model = initial_model(TOPO, tree, data.feats)
    return data, Model(transitions, tree, model.gmms), equal_alignment(aligner, model)


def test_segments_have_the_neighbours_of_the_transcript():
    data, model, tids = aligned_corpus()
    segments = segment(data, model.transitions, tids)
    first = data.phones[0]
    padded = [0, *first, 0]
    assert segments.windows[: len(first)].tolist() == [padded[k : k + 3] for k in range(len(first))]
    assert segments.windows[len(first)].tolist()[0] == 0
    assert segments.starts[0] == 0 and segments.starts[-1] == len(tids)


def test_statistics_hold_every_aligned_frame():
    data, model, tids = aligned_corpus()
    tids[data.rows(3)] = 0
    stats = tree_stats(data, model.transitions, tids, data.feats, {1})
    used = tids > 0
    assert stats.moments[:, 0].sum() == used.sum()
    dim = data.feats.shape[1]
    np.testing.assert_allclose(stats.moments[:, 1 : 1 + dim].sum(0), data.feats[used].sum(0, dtype=float), rtol=1e-6)
    silence = stats.windows[stats.windows[:, 1] == 1]
    assert (silence[:, [0, 2]] == 0).all() and len(silence) == 3


def test_a_converted_alignment_keeps_phones_and_states():
    data, model, tids = aligned_corpus()
    tids[data.rows(5)] = 0
    tree, moments = build_tree(made_up_stats(), QUESTIONS, TOPO, ROOTS, 60)
    other = Model(TransitionModel.from_tree(tree, TOPO), tree, gmms_from_moments(moments))
    new = convert(data, model.transitions, tids, other)
    for lookup in ("tid2phone", "tid2hmm_state", "tid2is_self_loop"):
        before, after = (getattr(m.transitions, lookup) for m in (model, other))
        np.testing.assert_array_equal(before[tids], after[new])
    assert (new[data.rows(5)] == 0).all() and (new > 0).sum() == (tids > 0).sum()
    back = convert(data, other.transitions, new, model)
    np.testing.assert_array_equal(back, tids)
