"""The inverse of a matrix one row of which changes.

Source: Sherman and Morrison, "Adjustment of an inverse matrix corresponding to a change in one element of a given
matrix", Annals of Mathematical Statistics 21(1), 1950.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def replace_row(inverse: NDArray[np.float64], row: int, change: NDArray[np.float64]) -> None:
    """Turn the inverse [D, D] of A, in place, into that of A with `change` [D] added to its row `row`.

    Rounding adds up: begin anew after some tens of changes.
    """
    column = inverse[:, row].copy()
    along = change @ inverse
    inverse -= np.outer(column / (1.0 + along[row]), along)
