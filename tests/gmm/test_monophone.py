"""The first alignment of the monophone system, from which silence and speech are told apart."""

import numpy as np
from small import SETS, TOPO, corpus

from frenchpress.gmm.monophone import equal_alignment, equal_path, initial_model, monophone_tree
from frenchpress.gmm.train import Aligner


def first_alignment(data, sil_prob, first_silence="coin"):
    model = initial_model(TOPO, monophone_tree(TOPO, SETS), data.feats)
    return model.transitions, equal_alignment(Aligner(data, 1, sil_prob), model, first_silence)


def spoken(transitions, tids):
    """The phones of an alignment: each begins where its first state is entered."""
    begins = (transitions.tid2hmm_state[tids] == 0) & ~transitions.tid2is_self_loop[tids]
    return transitions.tid2phone[tids[begins]].tolist()


def test_frames_are_shared_out_evenly():
    tids = np.array([(1, 2), (3, 4), (5, 6)], np.int32)
    assert equal_path(tids, 8).tolist() == [1, 2, 2, 3, 4, 4, 5, 6]
    assert equal_path(tids, 3).tolist() == [1, 3, 5]
    assert equal_path(tids, 2) is None


def test_silence_may_begin_at_the_ends_alone():
    data, _ = corpus(20)
    transitions, tids = first_alignment(data, 0.1, "ends")
    for k, phones in enumerate(data.phones):
        assert spoken(transitions, tids[data.rows(k)]) == [1, *phones, 1]
    transitions, tids = first_alignment(data, 0.0, "ends")
    assert [spoken(transitions, tids[data.rows(k)]) for k in range(len(data.phones))] == data.phones


def test_a_coin_is_tossed_for_each_optional_silence():
    data, _ = corpus(60)
    transitions, tids = first_alignment(data, 0.1)
    silences = places = 0
    at = {"first": 0, "last": 0}
    for k, phones in enumerate(data.phones):
        found = spoken(transitions, tids[data.rows(k)])
        assert [p for p in found if p != 1] == phones
        assert all((a, b) != (1, 1) for a, b in zip(found, found[1:]))
        at["first"] += found[0] == 1
        at["last"] += found[-1] == 1
        silences, places = silences + found.count(1), places + len(phones) + 1
    # Four standard deviations of as many tosses of a fair coin.
    assert abs(silences / places - 0.5) < 2 / places**0.5
    assert all(abs(count / 60 - 0.5) < 2 / 60**0.5 for count in at.values())


def test_without_optional_silence_the_transcript_stands_as_it_is():
    data, _ = corpus(5)
    transitions, tids = first_alignment(data, 0.0)
    assert [spoken(transitions, tids[data.rows(k)]) for k in range(5)] == data.phones


def test_an_utterance_too_short_for_silence_goes_without():
    data, _ = corpus(3)
    data.phones[1] = [2, 3, 4] * (data.lengths[1] // 9)
    data.phones[2] = [2] * (data.lengths[2] // 3 + 1)
    transitions, tids = first_alignment(data, 0.1)
    assert spoken(transitions, tids[data.rows(1)]) == data.phones[1]
    assert (tids[data.rows(2)] == 0).all()


def test_the_silences_of_an_utterance_do_not_depend_on_the_others():
    data, _ = corpus(4)
    _, tids = first_alignment(data, 0.1)
    other, _ = corpus(4)
    other.phones[0] = [4, 4, 4]
    _, again = first_alignment(other, 0.1)
    np.testing.assert_array_equal(tids[data.rows(2)], again[data.rows(2)])
