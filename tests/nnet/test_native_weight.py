"""Products over tiles of kept weights against the dense product."""

import pytest
import torch
from mask_cases import hcgs_of

from frenchpress.compress import PressedWeight
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.config.press import LayerPress
from frenchpress.kernels.native import Singles, Tiles, library
from frenchpress.kernels.native import weight as native_weight
from frenchpress.kernels.product import project

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels were not built")

PATTERN = {"method": "pattern", "dictionary": "random", "place": "random", "block": 8, "nonzeros": 2, "count": 4}
PRESSES = [
    LayerPress(8, 16, hcgs=hcgs_of((8, 2), ("1/4", "1/2"))),
    LayerPress(8, 16, quantizer="lsq", hcgs=hcgs_of((2,), ("1/16",))),
    LayerPress(6, 13, mask=PATTERN),
    LayerPress(6, 13, mask={"method": "bank", "bank": 32, "keep": "6/32", "after_epoch": 0}),
    LayerPress(3, 13, quantizer="lsq", mask={"method": "magnitude", "keep": "1/8", "after_epoch": 0}),
]


def made(press, rows=50, inputs=64, gates=1):
    generator = torch.Generator().manual_seed(1)
    matrix = PressedWeight((rows, inputs), press, gates, generator)
    with torch.no_grad():
        matrix.weight.normal_(generator=generator)
    MaskSchedule(matrix).finish()
    return matrix


def test_the_layout_follows_the_mask():
    """Blocks, and all that is dense, by tiles; few single weights each by itself."""
    presses = [LayerPress(), LayerPress(hcgs=hcgs_of((8,), ("1/4",))), *PRESSES[-2:]]
    layouts = [type(native_weight.packed(made(press, 64))[0]) for press in presses]
    assert layouts == [Tiles, Tiles, Singles, Singles]


@pytest.mark.parametrize("press", PRESSES, ids=str)
@pytest.mark.parametrize(("count", "rows"), [(8, 50), (13, 50), (9, 8)])
def test_equals_the_dense_product(press, count, rows):
    matrix = made(press, rows)
    x = torch.randn(count, 64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    upstream = torch.randn(count, rows, generator=torch.Generator().manual_seed(3))
    assert native_weight.serves_product(matrix, x)
    results = []
    for y in (project(x, matrix), x @ matrix().t()):
        gradients = torch.autograd.grad((y * upstream).sum(), (x, *matrix.parameters()))
        results.append((y.detach(), *gradients))
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    assert not results[0][2][~matrix.full_mask()].any()


def test_a_changed_mask_is_followed():
    matrix, x = made(PRESSES[0]), torch.randn(9, 64)
    project(x, matrix)
    with torch.no_grad():
        matrix.mask.copy_(matrix.mask.roll(8, dims=1))
    torch.testing.assert_close(project(x, matrix), x @ matrix().t())


@pytest.mark.parametrize("case", ["dense", "thick", "few rows", "double", "probing"])
def test_the_rest_is_left_to_the_library(case):
    press = LayerPress(8, 16) if case == "dense" else PRESSES[0]
    if case == "thick":
        press = LayerPress(8, 16, hcgs=hcgs_of((8,), ("3/4",)))
    matrix = made(press)
    matrix.probing = case == "probing"
    x = torch.zeros(4 if case == "few rows" else 16, 64, dtype=torch.float64 if case == "double" else torch.float32)
    assert not native_weight.serves_product(matrix, x)
