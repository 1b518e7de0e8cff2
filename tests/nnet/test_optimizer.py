import copy
from typing import get_args, get_type_hints

import pytest
import torch
from made_cfg import write_cfg

from frenchpress.config import load_config
from frenchpress.config.schema import TrainConfig
from frenchpress.kernels.native import library
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.optimizer import OPTIMIZERS, CompiledRMSprop, decay_weights, make_optimizer


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


def test_decay_shrinks_the_matrices_alone_by_their_rates(tmp_path):
    config = load_config(write_cfg(tmp_path, "model: {lstm: {cells: 8}}\ntrain: {lr: {lstm: 0.1, head_cd: 0.2}}\n"))
    model = AcousticModel(config, Sizes(4, 6, 3))
    before = copy.deepcopy(model.state_dict())
    decay_weights(model, make_optimizer(model, config.train), 0.5)
    shrunk = {"lstm0.input_matrix": 0.95, "lstm1.recurrent_matrix": 0.95, "head_cd.matrix": 0.9}
    for name, now in model.state_dict().items():
        factor = next((f for part, f in shrunk.items() if part in name), None)
        if factor is not None:
            assert torch.allclose(now, before[name] * factor)
        elif not name.endswith("matrix.weight"):
            assert torch.equal(now, before[name])


def test_every_optimizer_that_a_cfg_may_name_is_there():
    assert get_args(get_type_hints(TrainConfig)["optimizer"]) == tuple(OPTIMIZERS)
