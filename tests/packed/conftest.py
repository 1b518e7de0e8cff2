"""Masks of several depths."""

import pytest

from frenchpress.packed.index import Level

LEVELS = {
    "dense": (),
    "one level": (Level(3, 1, 2),),
    "two levels": (Level(4, 1, 2), Level(2, 1, 2)),
    "three levels": (Level(6, 1, 1), Level(3, 1, 2), Level(1, 2, 3)),
}


@pytest.fixture(params=list(LEVELS))
def levels(request):
    return LEVELS[request.param]
