"""A dictionary in which silence is optional, and what tests ask of a transducer."""

import kaldifst
import pytest


@pytest.fixture
def mboshi_dict(tmp_path, kaldi_mboshi):
    """data/dict of the corpus whose lang directory Kaldi made."""
    nonsilence = (kaldi_mboshi / "data/lang_test_bg/phones/nonsilence.txt").read_text().split()
    directory = tmp_path / "dict"
    directory.mkdir()
    (directory / "silence_phones.txt").write_text("SIL\n")
    (directory / "optional_silence.txt").write_text("SIL\n")
    (directory / "nonsilence_phones.txt").write_text("".join(f"{p}\n" for p in reversed(nonsilence)))
    (directory / "sil_prob").write_text("0.1\n")
    (directory / "score_map.txt").write_text("SIL\n" + "".join(f"{p} {p}\n" for p in nonsilence))
    return directory


def _best_path(fst, inputs):
    sorted_fst = kaldifst.StdVectorFst(fst)
    kaldifst.arcsort(sorted_fst, "ilabel")
    paths = kaldifst.compose(kaldifst.make_linear_acceptor(inputs), sorted_fst)
    if not paths.num_states:
        return None
    _, _, outputs, cost = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(paths))
    return cost.value, outputs


@pytest.fixture(scope="session")
def best_path():
    """(cost, output labels) of the cheapest path that reads `inputs`, None if there is none."""
    return _best_path
