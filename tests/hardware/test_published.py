"""What the formulas give beside published figures; docs/hardware.md has the table."""

from pathlib import Path

import pytest

from frenchpress.hardware.published import comparisons

CHIPS = Path(__file__).parents[2] / "chips"


@pytest.fixture(scope="module")
def found():
    return {c.what: c for c in comparisons(CHIPS)}


def test_what_is_arithmetic_on_published_figures_is_exact(found):
    assert found["weights of 3 x 512, a sixteenth of all"].here == 288e3
    assert found["the same, kept blocks of 32 and 4 in 6 bits"].here == 288 * 1024
    assert found["ESE, theoretical"].here == pytest.approx(57.0, abs=0.1)
    assert found["Spartus, dense"].here == pytest.approx(45.9, abs=0.05)


def test_the_rest_is_consistent_within_what_the_page_says(found):
    layers = [c for name, c in found.items() if name.endswith((", theoretical", ", actual")) and "ESE" not in name]
    assert len(layers) == 18 and all(0.7 < c.ratio < 1.1 for c in layers)
    for name in ("power at 80 MHz", "efficiency at 80 MHz", "power of an element", "area of 64 elements"):
        assert 0.7 < found[name].ratio < 1.35, found[name]
    assert all(0.3 < c.ratio < 2 for c in found.values())
