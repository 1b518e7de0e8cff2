"""The inverse after a change of one row, against inverting anew."""

import numpy as np

from frenchpress.gmm.rank_one import replace_row


def test_one_row_after_the_other():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 12)) + 4 * np.eye(12)
    inverse = np.linalg.inv(matrix)
    for row in (3, 0, 11, 3):
        change = rng.normal(size=12)
        replace_row(inverse, row, change)
        matrix[row] += change
        np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=0, atol=1e-10 * np.abs(inverse).max())
