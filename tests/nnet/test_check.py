"""What is said before an hour of preparation: are the models that a run is given there, or made before it."""

import re

import pytest

from frenchpress.common import UserError
from frenchpress.nnet.check import check_given

PRESSED = "train: {init: float, distill: {teacher: 'float_seed{seed}', weight: 0.5, temperature: 2}}\n"


@pytest.fixture
def paths(tmp_path):
    """A float .cfg, and one that starts from its model and learns from that of its own seed."""
    (tmp_path / "float.cfg").write_text("seed: 5\n")
    (tmp_path / "pressed.cfg").write_text("seed: 5\n" + PRESSED)
    return tmp_path / "float.cfg", tmp_path / "pressed.cfg"


def trained(place):
    place.mkdir()
    (place / "final.pt").touch()


def test_a_model_that_no_run_makes_is_named_with_its_key(paths, tmp_path):
    place = re.escape(str(tmp_path / "float"))
    with pytest.raises(UserError, match=rf"pressed\.cfg: train\.init: {place} is not trained, nor to be"):
        check_given(paths[1:], [], tmp_path)


def test_what_is_trained_before_need_not_be_there(paths, tmp_path):
    trained(tmp_path / "float_seed5")
    check_given(paths, [], tmp_path)
    with pytest.raises(UserError, match=r"train\.init"):
        check_given(paths[::-1], [], tmp_path)


def test_runs_are_named_by_their_seeds(paths, tmp_path):
    trained(tmp_path / "float")
    check_given(paths, [1, 2], tmp_path)
    trained(tmp_path / "float_seed1")
    check_given(paths[1:], [1], tmp_path)
    with pytest.raises(UserError, match=r"train\.distill\.teacher: \S+float_seed2 is not trained"):
        check_given(paths[1:], [1, 2], tmp_path)
