"""Limits as people write them."""

import pytest

from frenchpress.common import UserError
from frenchpress.explore.metrics import METRICS, Limit, broken, read_limit


@pytest.mark.parametrize(
    ("name", "text", "bound"),
    [
        ("stored_bytes", "<= 250 kB", 250e3),
        ("stored_bytes", "<=1.5MiB", 1.5 * 2**20),
        ("stored_bytes", "<= 1e5", 1e5),
        ("energy_uj", "<= 30 uJ", 30.0),
        ("energy_uj", "<= 500 nJ", 0.5),
        ("microseconds", "<= 2 ms", 2000.0),
        ("macs", "<= 0.3 M", 300e3),
        ("dev_per", "<= 30 %", 30.0),
    ],
)
def test_read(name, text, bound):
    assert read_limit(name, text) == Limit(name, pytest.approx(bound))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("stored_bytes", ">= 250 kB", "write <= and a number in B, kB, KiB, MB, MiB or nothing, such as <= 250 B"),
        ("stored_bytes", "<= 250 uJ", "is no limit"),
        ("stored_bytes", 250000, "250000 is no limit"),
        ("stored_bytes", "<= 0 kB", "is kept by nothing; the bound must be above 0"),
        ("stored_byte", "<= 1 kB", "unknown metric 'stored_byte', did you mean 'stored_bytes'?"),
    ],
)
def test_bad_ones_are_refused(name, text, said):
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        read_limit(name, text)


def test_what_is_broken():
    limits = [Limit("stored_bytes", 250e3), Limit("dev_per", 30.0)]
    assert broken(limits, {"stored_bytes": 250e3}) == ""  # PER is not known before training
    assert broken(limits, {"stored_bytes": 300e3}) == "stored_bytes: 300.0 kB, above the 250.0 kB of constraints"
    assert limits[1].over({"dev_per": 33.0}) == pytest.approx(0.1)


def test_every_metric_shows_numbers():
    assert all(any(c.isdigit() for c in metric.text(1234.5)) for metric in METRICS.values())
