"""What a run trains: the models that a .cfg is given come first, from the .cfg of their names."""

import pytest

from frenchpress.common import UserError
from frenchpress.nnet.order import Training, shared_lines, training_order

GIVEN = "train: {init: float, distill: {teacher: 'float_seed{seed}', weight: 0.5, temperature: 2}}\n"


@pytest.fixture
def paths(tmp_path):
    """A float .cfg, and one that starts from its model and learns from that of its own seed."""
    (tmp_path / "float.cfg").write_text("seed: 5\n")
    (tmp_path / "sparse.cfg").write_text("seed: 5\n" + GIVEN)
    return tmp_path / "float.cfg", tmp_path / "sparse.cfg"


def trained(place):
    place.mkdir()
    (place / "final.pt").touch()


def names(paths, seeds, exp):
    return [training.name for training in training_order(paths, seeds, exp)]


def test_what_is_missing_is_trained_first(paths, tmp_path):
    exp = tmp_path / "exp"
    assert names(paths[1:], [], exp) == ["float", "float_seed5", "sparse"]
    assert names(paths[::-1], [], exp) == ["float", "float_seed5", "sparse"]
    assert names(paths[1:], [1, 2], exp) == ["float", "float_seed1", "sparse_seed1", "float_seed2", "sparse_seed2"]
    assert training_order(paths[1:], [2], exp)[1] == Training(paths[0], 2)


def test_what_is_there_is_not_trained_again(paths, tmp_path):
    trained(tmp_path / "float")
    trained(tmp_path / "float_seed5")
    assert names(paths[1:], [], tmp_path) == ["sparse"]
    assert names(paths, [], tmp_path) == ["float", "sparse"]


def test_without_a_cfg_of_its_name_it_is_said_with_its_key(paths, tmp_path):
    paths[0].rename(tmp_path / "other.cfg")
    with pytest.raises(
        UserError, match=r"sparse\.cfg: train\.init: \S+float is not trained, and there is no \S+float\.cfg"
    ):
        training_order(paths[1:], [], tmp_path)
    trained(tmp_path / "float")
    with pytest.raises(UserError, match=r"train\.distill\.teacher: \S+float_seed5 is not trained"):
        training_order(paths[1:], [], tmp_path)


def test_names_are_seen_from_where_experiments_are(paths, tmp_path):
    """A .cfg of the same name trains another directory, and so cannot stand in."""
    exp = tmp_path / "exp"
    trained(exp)
    trained(exp / "float")
    paths[1].write_text(f"train: {{init: {exp.name}/float}}\n")
    with pytest.raises(UserError, match=r"sparse\.cfg: train\.init: \S+float: no trained model there; names of models"):
        training_order(paths[1:], [], exp)
    paths[1].write_text(f"train: {{init: ../{exp.name}/float}}\n")
    assert names(paths[1:], [], exp) == ["sparse"]


def test_a_circle_is_one_line(paths, tmp_path):
    paths[0].write_text("train: {init: sparse}\n")
    with pytest.raises(UserError, match="sparse needs float needs sparse: a circle"):
        training_order(paths[1:], [], tmp_path)


def test_a_model_that_several_seeds_share_is_named(paths):
    (line,) = shared_lines(paths, [1, 2])
    assert line.endswith("sparse.cfg: train.init: seeds 1, 2 share one float; float_seed{seed} names that of each seed")
    assert shared_lines(paths, [1]) == shared_lines(paths[:1], [1, 2]) == []
