"""Masks of several depths, and masks without structure."""

import pytest
from packed_models import Banks

from frenchpress.packed.index import Level

LEVELS = {
    "dense": (),
    "one level": (Level(3, 1, 2),),
    "two levels": (Level(4, 1, 2), Level(2, 1, 2)),
    "three levels": (Level(6, 1, 1), Level(3, 1, 2), Level(1, 2, 3)),
    "any third": 1 / 3,
    "any tenth": 0.1,
    "banks": Banks(1, 5, 2),
    "blocks that keep three": Banks(3, 4, 3),
}


@pytest.fixture(params=list(LEVELS))
def levels(request):
    return LEVELS[request.param]
