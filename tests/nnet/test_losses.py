"""Losses by the compiled kernel against torch in double precision: values and gradients."""

import pytest
import torch

from frenchpress.kernels.native import library
from frenchpress.nnet.losses import logit_losses

pytestmark = pytest.mark.skipif(library() is None, reason="the compiled kernels were not built")


@pytest.mark.parametrize("classes", [1, 7, 36, 96, 961])
@pytest.mark.parametrize("taught", [False, True])
def test_equals_torch(classes, taught):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(13, classes, generator=generator) * 20
    targets = torch.randint(classes, (13,), generator=generator)
    teacher = torch.randn(13, classes, generator=generator).log_softmax(-1) if taught else None
    results = []
    for dtype in (torch.float32, torch.float64):
        z = logits.clone().to(dtype).requires_grad_()
        parts = logit_losses(z, targets, None if teacher is None else teacher.to(dtype), 2.0)
        (0.3 * parts[0] + 0.7 * parts[1] + 0.01 * parts[2]).backward()
        results.append((*(p.detach().double() for p in parts), z.grad.double()))
    for ours, plain in zip(*results):
        torch.testing.assert_close(ours, plain, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("place", [0, 5])
def test_a_nan_shows(place):
    logits = torch.zeros(3, 9)
    logits[1, place] = float("nan")
    assert logit_losses(logits, torch.zeros(3, dtype=torch.int64), None, 1.0)[0].isnan()


@pytest.mark.parametrize("target", [-1, 9])
def test_a_target_that_is_no_class(target):
    with pytest.raises(IndexError, match="9 classes"):
        logit_losses(torch.zeros(3, 9), torch.tensor([0, target, 1]), None, 1.0)
