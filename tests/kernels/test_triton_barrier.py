"""Programs of one launch that wait for each other, each in a process of its own that interprets the kernel."""

import pytest
import torch
import torch.multiprocessing as multiprocessing
from interpreted_triton import INTERPRET, ON_GPU, kernels

from frenchpress.kernels.gpu.functions import gpu_recurrence
from frenchpress.kernels.gpu.launch import Packed
from frenchpress.kernels.gpu.tiles import Tiles, Tiling

pytestmark = pytest.mark.skipif(ON_GPU, reason="the interpreter is for machines without a GPU")

CELLS, SIZES, PROGRAMS, TILING = 8, [10, 10, 9, 7, 3, 1], 2, Tiling(4, 8)


def run_program(rank, name, tensors, arrived, numbers, constants):
    """Program `rank` of each group; the others are other processes."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    set_sizes, set_place = builder.set_grid_dim, builder.set_grid_idx
    builder.set_grid_dim = lambda x, y, z: set_sizes(PROGRAMS, y, z)
    builder.set_grid_idx = lambda x, y, z: set_place(rank, y, z)
    # It would copy tensors, as they were when this process was done, onto themselves.
    interpreter.GridExecutor._restore_args_dev = lambda *arguments: None
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*INTERPRET)
        getattr(kernels, name)[(1, len(arrived))](*tensors, arrived, 0, len(SIZES), 0, *numbers, **constants)


def run_side_by_side(name, side, tensors, numbers=(), **constants):
    arrived = torch.zeros(2, dtype=torch.int32)
    constants |= dict(K=side.depth, S=side.slices, KS=side.deep, CELLS=CELLS, CT=TILING.cells, BT=TILING.batch)
    for tensor in (*tensors, arrived):
        tensor.share_memory_()
    context = multiprocessing.get_context("spawn")
    arguments = (name, tensors, arrived, numbers, constants)
    processes = [context.Process(target=run_program, args=(rank, *arguments), daemon=True) for rank in range(PROGRAMS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    finished = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert finished == [0] * PROGRAMS
    return arrived


@pytest.mark.slow
def test_programs_that_wait_for_each_other_give_the_same_bits(monkeypatch):
    monkeypatch.setenv(*INTERPRET)
    generator = torch.Generator().manual_seed(4)
    mask = torch.rand(4 * CELLS, CELLS, generator=generator) < 0.7
    weight = torch.randn(4 * CELLS, CELLS, generator=generator) * mask
    projections = torch.randn(sum(SIZES), 4 * CELLS, generator=generator, requires_grad=True)
    upstream = torch.randn(sum(SIZES), CELLS, generator=generator)
    tiles, packed = Tiles(mask, TILING), Packed.of(SIZES, TILING.batch, torch.device("cpu"))
    assert tiles.forward.tiles == PROGRAMS
    wanted = gpu_recurrence(projections, weight, SIZES, tiles)
    (gradient,) = torch.autograd.grad(wanted, projections, upstream)

    nan = float("nan")
    gates, d = torch.full((2, sum(SIZES), 4 * CELLS), nan).unbind(0)
    gates, d = gates.clone(), d.clone()
    cell, out = torch.full_like(upstream, nan), torch.full_like(upstream, nan)
    side = tiles.forward
    given = [projections.detach(), side.index, side.pack(weight), packed.offsets, packed.steps, torch.ones(())]
    arrived = run_side_by_side("forward_steps", side, [*given, gates, cell, out], ROUND=False)
    assert torch.equal(out, wanted)
    assert arrived.tolist() == [PROGRAMS * len(SIZES), PROGRAMS * 3]  # the second group has fewer steps

    side, carry = tiles.backward, torch.zeros(SIZES[0], CELLS)
    given = [upstream, side.index, side.pack(weight), packed.offsets, packed.steps]
    run_side_by_side("backward_steps", side, [*given, gates, cell, d, carry], (len(SIZES),))
    assert torch.equal(d, gradient)
