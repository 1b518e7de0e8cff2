"""The Triton kernels against plain float64 torch: on a GPU where there is one, else in Triton's interpreter."""

import itertools
from dataclasses import fields, replace

import pytest
import torch
from interpreted_triton import DEVICE, INTERPRET, ON_GPU, kernels

from frenchpress.compress.structure import compact, gate_structure
from frenchpress.kernels.gpu import launch
from frenchpress.kernels.gpu.functions import gpu_recurrence
from frenchpress.kernels.gpu.tiles import LEAST_MEMORY, Tiles, Tiling


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    monkeypatch.setenv(*INTERPRET)


def reference(projections, weight, sizes, scale):
    """Outputs by a loop over time steps, autograd's gradients, straight-through rounding."""
    cells = weight.shape[1]
    h = c = projections.new_zeros(sizes[0], cells)
    out = []
    for frames in projections.split(sizes):
        n = len(frames)
        i, f, g, o = (frames + h[:n] @ weight.t()).chunk(4, dim=1)
        c = f.sigmoid() * c[:n] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        if scale is not None:
            h = h + ((h / scale).round() * scale - h).detach()
        out.append(h)
    return torch.cat(out)


def sizes_of(lengths):
    return [sum(n > t for n in lengths) for t in range(max(lengths))]


def random_case(generator, cells, batch, steps, density):
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator).tolist()
    mask = torch.rand(4 * cells, cells, generator=generator) < density
    weight = torch.randn(4 * cells, cells, generator=generator) * mask / (cells * density) ** 0.5
    sizes = sizes_of([*lengths[1:], steps])
    return mask, weight, sizes, torch.randn(sum(sizes), 4 * cells, generator=generator)


def check(got, wanted, slack=0.0):
    for name, a, b in zip(("outputs", "projections", "weight"), got, wanted):
        torch.testing.assert_close(a.cpu().double(), b, rtol=1e-4, atol=2e-5 + slack, msg=lambda m, n=name: f"{n}: {m}")


def run_both(mask, weight, sizes, projections, tiling, scale, generator):
    upstream = torch.randn(len(projections), weight.shape[1], generator=generator)
    results = []
    for dtype, device in ((torch.float32, DEVICE), (torch.float64, "cpu")):
        p, w = (v.to(device, dtype).requires_grad_() for v in (projections, weight))
        if dtype == torch.float64:
            out = reference(p, w, sizes, None if scale is None else scale.cpu().double())
        else:
            out = gpu_recurrence(p, w, sizes, Tiles(mask.to(device), tiling), None, scale)
        results.append((out.detach(), *torch.autograd.grad((out * upstream.to(out)).sum(), (p, w))))
    return results


CASES = [  # cells, batch, steps, density, tiling
    (5, 1, 1, 1.0, Tiling(4, 8)),
    (6, 3, 5, 0.3, Tiling(4, 8)),
    (16, 11, 6, 1.0, Tiling(16, 8)),  # one tile: all steps in one launch, two groups of sequences
    (13, 19, 4, 0.2, Tiling(16, 16)),
    (40, 9, 3, 0.1, Tiling(8, 16)),
    (21, 2, 7, 1.0, Tiling(8, 8)),
]


@pytest.mark.parametrize("bits", [32, 16, 7])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_reference(case, bits):
    cells, batch, steps, density, tiling = case
    generator = torch.Generator().manual_seed(cells + bits)
    case = random_case(generator, cells, batch, steps, density)
    scale = None if bits == 32 else torch.tensor(1.0 / (2 ** (bits - 1) - 1), device=DEVICE)
    got, wanted = run_both(*case, tiling, scale, generator)
    if scale is not None:
        assert torch.equal((got[0] / scale).round() * scale, got[0])
    # Of 16 bits, an output on the edge of two steps may fall to either side, and the recurrence carries it on.
    check(got, wanted, slack=3e-4 if bits == 16 else 0.0)


def test_weights_that_no_program_can_hold_come_in_chunks():
    tiling = Tiling(16, 8, 20 * 1024)
    generator = torch.Generator().manual_seed(3)
    case = random_case(generator, 70, 3, 2, 1.0)
    tiles = Tiles(case[0], tiling)
    assert [side.depth // side.slices // side.deep for side in (tiles.forward, tiles.backward)] == [2, 5]
    got, wanted = run_both(*case, tiling, None, generator)
    check(got, wanted)


@pytest.mark.parametrize("room, launches", [(0, 8), (1, 2), (2, 1)])
def test_steps_one_by_one_and_together_give_the_same_bits(room, launches, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    mask, weight, sizes, projections = random_case(generator, 12, 13, 8, 0.5)
    weight, projections = weight.to(DEVICE).requires_grad_(), projections.to(DEVICE).requires_grad_()
    tiles = Tiles(mask.to(DEVICE), Tiling(16, 8))

    def outcome():
        out = gpu_recurrence(projections, weight, sizes, tiles)
        return out, *torch.autograd.grad(out.square().sum(), (projections, weight))

    wanted = outcome()
    counted = []

    class Counting:
        def __getitem__(self, grid):
            counted.append(grid)
            return forward_steps[grid]

    forward_steps = kernels.forward_steps
    monkeypatch.setattr(kernels, "forward_steps", Counting())
    monkeypatch.setattr(launch, "machine", lambda device: launch.Machine(room, LEAST_MEMORY))
    for got, value in zip(outcome(), wanted):
        assert torch.equal(got, value)
    assert len(counted) == launches


@pytest.mark.parametrize("share", [True, False])
def test_compact_values(share):
    generator = torch.Generator().manual_seed(2)
    cells, block = 24, 8
    rows = torch.rand(3 if share else 12, 3, generator=generator) < 0.4
    rows[:, 0] = True
    mask = rows.repeat_interleave(block, 0).repeat_interleave(block, 1)
    structure = gate_structure(mask, block, 4, 4 * cells)
    full = mask.repeat(4, 1) if share else mask
    weight = torch.randn(4 * cells, cells, generator=generator) * full
    sizes = [4, 4, 2]
    projections = torch.randn(10, 4 * cells, generator=generator)
    outcomes = []
    for compacted in (True, False):
        leaf = weight.clone().requires_grad_()
        s = structure if compacted else None
        values = compact(leaf, s) if compacted else leaf
        # Everything on the CPU but the call itself, so that gradients come back to the leaf.
        tiles = Tiles(full.to(DEVICE), Tiling(8, 8), None if s is None else structure_on(s, DEVICE))
        out = gpu_recurrence(projections.to(DEVICE), values.to(DEVICE), sizes, tiles, structure_on(s, DEVICE))
        outcomes.append((out, torch.autograd.grad(out.square().sum(), leaf)[0] * full))
    for a, b in zip(*outcomes):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def structure_on(structure, device):
    if structure is None:
        return None
    values = {field.name: getattr(structure, field.name) for field in fields(structure)}
    return replace(structure, **{name: value.to(device) for name, value in values.items() if torch.is_tensor(value)})


@pytest.mark.skipif(not ON_GPU, reason="takes a GPU, whose programs run side by side")
@pytest.mark.parametrize("batch, density", [(8, 1.0), (8, 1 / 16), (40, 1 / 16), (3, 1 / 4)])
def test_programs_of_a_whole_gpu_wait_for_each_other(batch, density, monkeypatch):
    generator = torch.Generator().manual_seed(batch)
    mask, weight, sizes, projections = random_case(generator, 512, batch, 200, density)
    on = launch.machine(DEVICE)
    tiling = launch.choose_tiling(512, batch, on)
    got, wanted = run_both(mask, weight, sizes, projections, tiling, None, generator)
    check(got, wanted, slack=1e-3)
    tiles, weight, projections = Tiles(mask.to(DEVICE), tiling), weight.to(DEVICE), projections.to(DEVICE)
    projections.requires_grad_()

    def outcome():
        out = gpu_recurrence(projections, weight, sizes, tiles)
        return out, *torch.autograd.grad(out.square().sum(), projections)

    together = [outcome() for _ in range(50)]
    monkeypatch.setattr(launch, "machine", lambda device: launch.Machine(0, on.memory))
    one_by_one = outcome()
    assert all(torch.equal(a, b) for other in together for a, b in zip(other, one_by_one))


def test_a_nan_stays_in_its_sequence_and_is_not_swallowed():
    tiles = Tiles(torch.ones(16, 4, dtype=torch.bool, device=DEVICE), Tiling(4, 8))
    projections = torch.zeros(6, 16, device=DEVICE)
    projections[1] = float("nan")
    weight, scale = torch.ones(16, 4, device=DEVICE), torch.tensor(0.01, device=DEVICE)
    out = gpu_recurrence(projections, weight, [2, 2, 2], tiles, None, scale)
    assert out[1::2].isnan().all() and not out[::2].isnan().any()


def test_tiles_keep_no_more_than_they_need():
    mask = torch.zeros(4 * 512, 512, dtype=torch.bool)
    mask.view(4, 512, 512)[:, :, 32:96] = True
    tiles = Tiles(mask, Tiling(4, 8))
    assert (tiles.forward.tiles, tiles.forward.depth) == (128, 64)
    used = tiles.backward.gather.lt(mask.numel()).any(-1).sum(1)
    assert used.tolist() == [0] * 8 + [2048] * 16 + [0] * 104


@pytest.mark.parametrize(
    "cells, batch, processors, tiling",
    [
        (512, 8, 132, (4, 8)),
        (512, 8, 108, (8, 8)),
        (512, 64, 132, (16, 16)),
        (512, 1000, 132, (16, 16)),
        (4096, 8, 132, (16, 8)),
        (7, 20, 1, (16, 16)),
    ],
)
def test_tiling_fills_the_device_and_no_more(cells, batch, processors, tiling):
    assert launch.choose_tiling(cells, batch, launch.Machine(processors, 1000)) == Tiling(*tiling, 1000)


@pytest.mark.parametrize("memory", [99, 163, 227])
@pytest.mark.parametrize("cells, batch", list(itertools.product((4, 8, 16), (8, 16))))
def test_chunks_fit_into_shared_memory(cells, batch, memory):
    tiles = Tiles(torch.ones(4 * 512, 512, dtype=torch.bool), Tiling(cells, batch, memory * 1024))
    for side in (tiles.forward, tiles.backward):
        chunk, values = side.slices * side.deep, side.gather.shape[2]
        held = chunk * (batch + values * (1 if chunk == side.depth else 2))
        assert 4 * held < memory * 1024
        assert side.depth % chunk == 0 and side.deep >= 16
