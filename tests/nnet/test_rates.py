"""Learning rates: warm-up, halving, cosine."""

import math

import pytest
from made_cfg import write_cfg

from frenchpress.common import UserError
from frenchpress.config import load_config
from frenchpress.nnet.rates import next_halved, rate_at, relative_gain


def config_of(tmp_path, train):
    return load_config(write_cfg(tmp_path, f"train: {train}\n")).train


def test_without_anything_said_rates_are_what_halving_made_of_them(tmp_path):
    config = config_of(tmp_path, "{epochs: 4}")
    assert rate_at(config, 2, 0.3, 0.25) == 0.25
    assert next_halved(config, 0.25, 0.0) == 0.125
    assert next_halved(config, 0.25, 0.01) == 0.25


@pytest.mark.parametrize("before, now, gain", [(0.5, 0.4, 0.2), (0.4, 0.5, -0.25), (math.inf, 0.4, 1), (0.0, 0.0, 1)])
def test_what_an_error_fell_by(before, now, gain):
    assert relative_gain(before, now) == pytest.approx(gain)


def test_warm_up_rises_and_stays(tmp_path):
    config = config_of(tmp_path, "{epochs: 4, warmup: 1}")
    rates = [rate_at(config, e, s, 0.5) for e, s in ((0, 0.0), (0, 0.5), (0, 0.99), (1, 0.0), (3, 0.9))]
    assert 0 < rates[0] < rates[1] < rates[2] < 0.5
    assert rates[3] == rates[4] == 0.5


def test_cosine_goes_from_the_first_rate_to_the_final_one(tmp_path):
    config = config_of(tmp_path, "{epochs: 4, cosine: {final: 0.1}}")
    assert rate_at(config, 0, 0.0, 1.0) == 1.0
    assert rate_at(config, 2, 0.0, 1.0) == pytest.approx(0.55)
    assert rate_at(config, 1, 0.0, 1.0) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert rate_at(config, 3, 0.9999, 1.0) == pytest.approx(0.1, abs=1e-3)
    assert next_halved(config, 1.0, -1.0) == 1.0


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        ("{epochs: 2, warmup: 2}", "warmup: 2 epochs of 2 leave none at the full rate"),
        ("{epochs: 2, warmup: -1}", "must be at least 0"),
        ("{epochs: 2, cosine: {final: 2}}", "must be at least 0.0 and at most 1"),
        ("{epochs: 2, augment: {time_masks: 0, feature_masks: 0}}", "hides nothing"),
        ("{epochs: 0, init: x, augment: {}}", "augment: would do nothing"),
        ("{epochs: 2, weight_decay: -0.1}", "must be at least 0"),
    ],
)
def test_refused(tmp_path, train, complaint):
    with pytest.raises(UserError, match=complaint):
        config_of(tmp_path, train)
