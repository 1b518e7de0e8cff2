import gzip

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, read_model, write_model
from frenchpress.kaldi.topology import HmmState, HmmTopology, read_topology, write_topology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import Constant, ContextTree, Split, Table, read_tree, write_tree

MODELS = ["exp/mono/final.mdl", "exp/tri3/final.mdl", "exp/tri3/final.alimdl"]


@pytest.mark.parametrize("name", MODELS)
def test_model_written_again_has_the_same_bytes(kaldi_mboshi, tmp_path, name):
    transitions, am = read_model(kaldi_mboshi / name)
    write_model(tmp_path / "final.mdl", transitions, am)
    assert (tmp_path / "final.mdl").read_bytes() == (kaldi_mboshi / name).read_bytes()


@pytest.mark.parametrize("system", ["mono", "tri3"])
def test_tree_written_again_has_the_same_bytes(kaldi_mboshi, tmp_path, system):
    path = kaldi_mboshi / "exp" / system / "tree"
    write_tree(tmp_path / "tree", read_tree(path))
    assert (tmp_path / "tree").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("system", ["mono", "tri3"])
def test_transition_model_of_tree_and_topology_is_kaldis(kaldi_mboshi, system):
    transitions, _ = read_model(kaldi_mboshi / "exp" / system / "final.mdl")
    tree = read_tree(kaldi_mboshi / "exp" / system / "tree")
    topo = read_topology(kaldi_mboshi / "data/lang_test_bg/topo")
    built = TransitionModel.from_tree(tree, topo)
    assert np.array_equal(built.tuples, transitions.tuples)
    assert np.array_equal(built.tid2pdf, transitions.tid2pdf)
    assert topo == transitions.topo
    assert tree.num_pdfs == transitions.num_pdfs


def test_text_topology_written_again_is_the_same(kaldi_mboshi, tmp_path):
    path = kaldi_mboshi / "data/lang_test_bg/topo"
    write_topology(tmp_path / "topo", read_topology(path))
    assert (tmp_path / "topo").read_text() == path.read_text()


def test_alignments_by_kaldi_walk_through_the_model(kaldi_mboshi):
    """Each transition must start in the state where the one before it ended."""
    from frenchpress.kaldi.io import read_int_vectors

    transitions, _ = read_model(kaldi_mboshi / "exp/tri3_ali_test/final.mdl")
    alignments = read_int_vectors(kaldi_mboshi / "exp/tri3_ali_test/ali.1.gz")
    assert len(alignments) > 100
    for tids in alignments.values():
        stays = transitions.tid2is_self_loop[tids]
        same_tuple = transitions.tid2tuple[tids][1:] == transitions.tid2tuple[tids][:-1]
        # Kaldi reorders: the loop follows the arc that leaves the state, and belongs to the same tuple.
        assert same_tuple[stays[1:]].all()


def left_to_right(phones, states=3):
    rows = [HmmState(i, ((i, 0.75), (i + 1, 0.25)), i) for i in range(states)]
    return HmmTopology([[*rows, HmmState(-1, (), -1)]], {phone: 0 for phone in phones})


def two_phone_model():
    """Two phones whose first states depend on the phone to the left, transition ids known by hand."""
    leaf = Table(-1, (Split(0, frozenset([2]), Constant(1), Constant(0)), Constant(2)))
    root = Table(1, (None, leaf, Table(-1, (Constant(3), Constant(4)))))
    return ContextTree(3, 1, root), left_to_right([1, 2], states=2)


def test_numbering_by_hand():
    tree, topo = two_phone_model()
    model = TransitionModel.from_tree(tree, topo)
    expected = [(1, 0, 0, 0), (1, 0, 1, 1), (1, 1, 2, 2), (2, 0, 3, 3), (2, 1, 4, 4)]
    assert [tuple(row) for row in model.tuples.tolist()] == expected
    assert model.num_tids == 10
    assert model.tid2pdf.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert model.tid2is_self_loop.tolist() == [False] + [True, False] * 5
    assert model.tid2is_final.nonzero()[0].tolist() == [6, 10]
    assert model.tid(model.tuple_index(2, 0, 3), 1) == 8
    np.testing.assert_allclose(np.exp(model.log_probs[1:]), [0.75, 0.25] * 5)


def test_tree_asks_its_questions():
    tree, _ = two_phone_model()
    assert tree.pdf((2, 1, 0), 0) == 1
    assert tree.pdf((1, 1, 2), 0) == 0
    assert tree.pdf((0, 2, 0), 1) == 4
    assert tree.pdfs(1, 0) == {0, 1}
    with pytest.raises(UserError, match="no leaf"):
        tree.pdf((0, 7, 0), 0)


def test_changed_parameters_get_new_constants(kaldi_mboshi, tmp_path):
    transitions, am = read_model(kaldi_mboshi / "exp/mono/final.mdl")
    changed = AmGmm([DiagGmm(g.weights, g.means + 1, g.vars, g.gconsts) for g in am.pdfs])
    write_model(tmp_path / "final.mdl", transitions, changed)
    _, again = read_model(tmp_path / "final.mdl")
    for gmm in again.pdfs[:5]:
        terms = np.log(gmm.vars) + gmm.means**2 / gmm.vars + np.log(2 * np.pi)
        np.testing.assert_allclose(gmm.gconsts, np.log(gmm.weights) - terms.sum(1) / 2, rtol=1e-4)


def test_model_cut_short(kaldi_mboshi, tmp_path):
    whole = (kaldi_mboshi / "exp/mono/final.mdl").read_bytes()
    for size in (1, 30, 1000, len(whole) - 5):
        (tmp_path / "final.mdl").write_bytes(whole[:size])
        with pytest.raises(UserError, match="final.mdl"):
            read_model(tmp_path / "final.mdl")


def test_tree_is_not_a_model(kaldi_mboshi, tmp_path):
    with pytest.raises(UserError, match="<TransitionModel>"):
        read_model(kaldi_mboshi / "exp/mono/tree")


def test_topology_errors_name_the_file(tmp_path):
    (tmp_path / "topo").write_text("<Topology> <TopologyEntry> <ForPhones> 1 x")
    with pytest.raises(UserError, match="topo.*integer.*'x'"):
        read_topology(tmp_path / "topo")
    with pytest.raises(UserError, match="no such file"):
        read_topology(tmp_path / "none")


def test_gzip_of_alignments_is_reproducible(kaldi_mboshi, tmp_path):
    from frenchpress.kaldi.io import read_int_vectors, write_int_vectors

    path = kaldi_mboshi / "exp/tri3_ali_dev/ali.2.gz"
    alignments = read_int_vectors(path)
    for name in ("a.gz", "b.gz"):
        write_int_vectors(tmp_path / name, alignments)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    with gzip.open(path) as theirs, gzip.open(tmp_path / "a.gz") as ours:
        assert theirs.read() == ours.read()
