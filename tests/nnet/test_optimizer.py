import copy

import pytest
import torch

from frenchpress.kernels.native import library
from frenchpress.nnet.optimizer import CompiledRMSprop


@pytest.mark.skipif(library() is None, reason="the compiled kernels were not built")
def test_compiled_steps_and_state_are_those_of_torch():
    """A checkpoint of either goes on with the other."""
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(5, 3, generator=generator), torch.randn(4, generator=generator), torch.randn(2)]
    models = [[torch.nn.Parameter(p.clone()) for p in first] for _ in range(2)]
    kinds = (CompiledRMSprop, torch.optim.RMSprop)
    made = [
        kind([{"params": m[:1], "lr": 0.01}, {"params": m[1:], "lr": 0.002}], alpha=0.95, eps=1e-8)
        for kind, m in zip(kinds, models)
    ]
    for step in range(6):
        if step == 3:  # each goes on from the state of the other
            states = [copy.deepcopy(optimizer.state_dict()) for optimizer in made]
            for optimizer, state in zip(made, reversed(states)):
                optimizer.load_state_dict(state)
        for parameters in zip(*(m[:2] for m in models)):  # the last one has no gradient
            grad = torch.randn(parameters[0].shape, generator=generator)
            for p in parameters:
                p.grad = grad.t().contiguous().t()
        for optimizer in made:
            optimizer.step()
        for a, b in zip(*models):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert torch.equal(models[0][2], first[2])
