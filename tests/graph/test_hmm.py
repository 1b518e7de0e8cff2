"""H and self-loops on models small enough to check by hand."""

import numpy as np
import pytest

from frenchpress.graph.fst import FstArcs, arcs_from_rows
from frenchpress.graph.hmm import add_self_loops, h_transducer
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Split, Table

FINAL = HmmState(-1, (), -1)


@pytest.fixture
def model():
    """Phone 1: one state; phone 2: two states, the second one skippable, and either may lead back."""
    one = [HmmState(0, ((0, 0.75), (1, 0.25)), 0), FINAL]
    two = [
        HmmState(0, ((0, 0.5), (1, 0.25), (2, 0.25)), 0),
        HmmState(1, ((1, 0.5), (0, 0.25), (2, 0.25)), 1),
        FINAL,
    ]
    topo = HmmTopology([one, two], {1: 0, 2: 1})
    # pdf 0: phone 1; pdfs 1 and 2: first state of phone 2, after phone 1 or not; pdf 3: its second state.
    first = Split(0, frozenset({1}), Constant(1), Constant(2))
    second = Table(STATE_KEY, (first, Constant(3)))
    tree = ContextTree(3, 1, Table(1, (None, Constant(0), second)))
    return tree, TransitionModel.from_tree(tree, topo)


def test_each_window_reads_the_paths_of_its_hmm(model, best_path):
    tree, transitions = model
    windows = [[], [0], [0, 1, 2], [1, 2, 0], [2, 2, 0]]
    h = h_transducer(windows, tree, transitions)

    def tid(phone, state, pdf, arc):
        return transitions.tid(transitions.tuple_index(phone, state, pdf), arc)

    for inputs, windows_read, probability in [
        ([tid(1, 0, 0, 1)], [2], 1.0),
        ([tid(2, 0, 1, 2)], [3], 0.5),
        ([tid(2, 0, 2, 1), tid(2, 1, 3, 2)], [4], 0.25),
        ([tid(2, 0, 2, 1), tid(2, 1, 3, 1), tid(2, 0, 2, 2)], [4], 0.125),
        ([tid(1, 0, 0, 1), transitions.num_tids + 1], [2, 1], 1.0),
    ]:
        cost, outputs = best_path(h, inputs)
        assert np.exp(-cost) == pytest.approx(probability)
        assert [o for o in outputs if o] == windows_read
    # The first state of another window's pdf does not lead on.
    assert best_path(h, [tid(2, 0, 1, 1), tid(2, 1, 3, 1), tid(2, 0, 2, 2)]) is None


def test_transition_scale(model, best_path):
    tree, transitions = model
    h = h_transducer([[], [1, 2, 0]], tree, transitions, transition_scale=0.5)
    tid = transitions.tid(transitions.tuple_index(2, 0, 1), 2)
    assert np.exp(-best_path(h, [tid])[0]) == pytest.approx(0.5**0.5)


def test_self_loops_follow_their_state(model, best_path):
    _, transitions = model
    leave_one = transitions.tid(transitions.tuple_index(1, 0, 0), 1)
    loop_one = transitions.tid(transitions.tuple_index(1, 0, 0), 0)
    loop_two = transitions.tid(transitions.tuple_index(2, 0, 2), 0)
    leave_two = transitions.tid(transitions.tuple_index(2, 0, 2), 2)
    # State 1 is entered by two kinds of HMM state and by epsilon.
    rows = [(0, leave_one, 7, 0.0, 1), (0, leave_two, 8, 0.0, 1), (0, 0, 9, 1.0, 1), (1, leave_one, 7, 0.0, 2)]
    graph = arcs_from_rows(0, np.array([np.inf, 0.0, 0.5], np.float32), rows)
    looped = add_self_loops(graph, transitions, scale=0.1)
    fst = looped.build()

    def cost(*inputs):
        found = best_path(fst, list(inputs))
        return None if found is None else found[0]

    stay_one, go_one = -0.1 * np.log(0.75), -0.1 * np.log(0.25)
    stay_two, go_two = -0.1 * np.log(0.5), -0.1 * np.log(0.5)
    assert cost(leave_one) == pytest.approx(go_one, abs=1e-5)
    assert cost(leave_one, loop_one, loop_one) == pytest.approx(2 * stay_one + go_one, abs=1e-5)
    assert cost(leave_two, loop_two) == pytest.approx(stay_two + go_two, abs=1e-5)
    assert cost(leave_two, loop_two, leave_one) == pytest.approx(stay_two + go_two + go_one + 0.5, abs=1e-5)
    assert cost(leave_two, loop_one) is None and cost(loop_one) is None
    assert cost() == pytest.approx(1.0)
    assert FstArcs.of(fst).num_arcs == looped.num_arcs == 4 + 2 + 3
