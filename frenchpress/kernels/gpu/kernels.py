"""The recurrence of an LSTM and its transpose as Triton kernels, a step or all steps per launch.

Imported only where it is used: Triton need not be installed. With TRITON_INTERPRET=1 set before, the same code runs
on CPU tensors, a program after the other.

Loops over time are `while` loops: Triton never fetches for the next turn of those ahead of time, which would be before
the others have written it.
"""

import triton
import triton.language as tl

# Adding and taking away 1.5 * 2^23 leaves a float32 below 2^22 at the nearest integer, ties to even.
_TO_INTEGER = tl.constexpr(12582912.0)


@triton.jit
def _tanh(x: tl.tensor) -> tl.tensor:
    """Within 3e-7, also relative to a small result, where 1 - exp(-2x) has lost its digits."""
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    s = x * x
    near = x + x * s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835))))
    return tl.where(tl.abs(x) < 0.25, near, tl.where(x < 0, -far, far))


@triton.jit
def _wait(arrived: tl.tensor, target: tl.tensor) -> None:
    """Until `target` arrivals of the programs of this group have been counted, and what they wrote before is here."""
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < target:
        pass


@triton.jit
def _arrive(arrived: tl.tensor) -> None:
    """Let the other programs of this group see what all threads of this one have written."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release", scope="gpu")


@triton.jit
def _weights(values: tl.tensor, tile: tl.tensor, k: tl.tensor, K: tl.constexpr, N: tl.constexpr) -> tl.tensor:
    """Of one tile, for the positions `k` [S, KS] among its kept inputs: [S, KS, N]."""
    return tl.load(values + (tile * K + k[:, :, None]) * N + tl.arange(0, N)[None, None, :])


@triton.jit
def _inputs(x: tl.tensor, row: tl.tensor, width: tl.constexpr, columns: tl.tensor) -> tl.tensor:
    """Columns [S, KS] of rows [BT] of x [., width], written by other programs a moment ago: [S, BT, KS]."""
    # Past L1, which is not coherent between multiprocessors.
    return tl.load(x + row[None, :, None] * width + columns[:, None, :], cache_modifier=".cg")


@triton.jit
def _product(
    x: tl.tensor, row: tl.tensor, width: tl.constexpr, index: tl.tensor, values: tl.tensor, tile: tl.tensor,
    columns: tl.tensor, weights: tl.tensor, K: tl.constexpr, S: tl.constexpr, KS: tl.constexpr, N: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Rows `row` [BT] of x [., width] times the kept weights of `tile`: [BT, N].

    The K kept inputs are worked off in chunks of S slices; each warp has a slice of its own, and they are added last.
    `columns` and `weights` are those of the first chunk, which stay on the multiprocessor; others come from L2.
    """
    y = tl.dot(_inputs(x, row, width, columns), weights, input_precision="ieee")
    k = tl.arange(0, S)[:, None] * KS + tl.arange(0, KS)[None, :]
    for chunk in tl.static_range(S * KS, K, S * KS):
        further = tl.load(index + tile * K + chunk + k)
        more = _weights(values, tile, chunk + k, K, N)
        y += tl.dot(_inputs(x, row, width, further), more, input_precision="ieee")
    return tl.sum(y, axis=0)


@triton.jit(do_not_specialize=["first", "last", "first_group"])
def forward_steps(
    pre: tl.tensor, index: tl.tensor, values: tl.tensor, offsets: tl.tensor, steps: tl.tensor, scale: tl.tensor,
    gates: tl.tensor, cell: tl.tensor, out: tl.tensor, arrived: tl.tensor,
    first: tl.tensor, last: tl.tensor, first_group: tl.tensor,
    CELLS: tl.constexpr, K: tl.constexpr, S: tl.constexpr, KS: tl.constexpr,
    CT: tl.constexpr, BT: tl.constexpr, ROUND: tl.constexpr,
) -> None:  # fmt: skip
    """Steps first..last-1 for CT cells of BT sequences, from the packed projections `pre` [N, 4 CELLS].

    `offsets` int64 [T + 1]: where each step's rows start. `steps` int64 [groups]: how many steps have a row of the
    group. Written are `gates` [N, 4 CELLS], `cell` and `out` [N, CELLS]; rows of steps before `first` must be there.
    """
    tile, group = tl.program_id(0), first_group + tl.program_id(1)
    b, c = group * BT + tl.arange(0, BT), tile * CT + tl.arange(0, CT)
    k = tl.arange(0, S)[:, None] * KS + tl.arange(0, KS)[None, :]
    columns, weights = tl.load(index + tile * K + k), _weights(values, tile, k, K, 4 * CT)
    wide, narrow = b[:, None] * (4 * CELLS) + c[None, :], b[:, None] * CELLS + c[None, :]
    last = tl.minimum(last, tl.load(steps + group).to(tl.int32))
    before, start = tl.load(offsets + tl.maximum(first - 1, 0)), tl.load(offsets + first)
    real = (b < start - before)[:, None] & (c < CELLS)[None, :]  # nowhere at the first step of all
    state = tl.load(cell + before * CELLS + narrow, real, 0.0)
    step = tl.load(scale)
    t = first
    while t < last:
        end = tl.load(offsets + t + 1)
        count = end - start
        real = (b < count)[:, None] & (c < CELLS)[None, :]
        given = pre + start * (4 * CELLS) + wide
        i, f = tl.load(given, real, 0.0), tl.load(given + CELLS, real, 0.0)
        g, o = tl.load(given + 2 * CELLS, real, 0.0), tl.load(given + 3 * CELLS, real, 0.0)
        if t > 0:
            if t > first:
                _wait(arrived + group, (t - first) * tl.num_programs(0))
            # Rows without a sequence repeat the last that has one.
            row = before + tl.minimum(b, count - 1)
            y = _product(out, row, CELLS, index, values, tile, columns, weights, K, S, KS, 4 * CT)
            even, odd = tl.split(tl.reshape(y, (BT, CT, 2, 2)))
            to_i, to_g = tl.split(even)
            to_f, to_o = tl.split(odd)
            i, f, g, o = i + to_i, f + to_f, g + to_g, o + to_o
        i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), _tanh(g), tl.sigmoid(o)
        state = f * state + i * g
        h = o * _tanh(state)
        if ROUND:
            h = ((tl.div_rn(h, step) + _TO_INTEGER) - _TO_INTEGER) * step
        tl.store(out + start * CELLS + narrow, h, real)
        _arrive(arrived + group)
        # The others do not wait for these.
        kept = gates + start * (4 * CELLS) + wide
        tl.store(kept, i, real)
        tl.store(kept + CELLS, f, real)
        tl.store(kept + 2 * CELLS, g, real)
        tl.store(kept + 3 * CELLS, o, real)
        tl.store(cell + start * CELLS + narrow, state, real)
        before, start = start, end
        t += 1


@triton.jit(do_not_specialize=["first", "last", "first_group", "total"])
def backward_steps(
    dout: tl.tensor, index: tl.tensor, values: tl.tensor, offsets: tl.tensor, steps: tl.tensor, gates: tl.tensor,
    cell: tl.tensor, d: tl.tensor, carry: tl.tensor, arrived: tl.tensor,
    first: tl.tensor, last: tl.tensor, first_group: tl.tensor, total: tl.tensor,
    CELLS: tl.constexpr, K: tl.constexpr, S: tl.constexpr, KS: tl.constexpr, CT: tl.constexpr, BT: tl.constexpr,
) -> None:  # fmt: skip
    """Steps total-1-first down to total-last: gradients `d` [N, 4 CELLS] of the gates' inputs, from `dout` [N, CELLS].

    `carry` [sequences, CELLS], zero before the first launch, takes the cell's gradient from one launch to the next.
    """
    tile, group = tl.program_id(0), first_group + tl.program_id(1)
    b, c = group * BT + tl.arange(0, BT), tile * CT + tl.arange(0, CT)
    k = tl.arange(0, S)[:, None] * KS + tl.arange(0, KS)[None, :]
    columns, weights = tl.load(index + tile * K + k), _weights(values, tile, k, K, CT)
    wide, narrow = b[:, None] * (4 * CELLS) + c[None, :], b[:, None] * CELLS + c[None, :]
    own = (b < tl.load(offsets + 1))[:, None] & (c < CELLS)[None, :]
    dc = tl.load(carry + narrow, own, 0.0)
    mine = tl.load(steps + group).to(tl.int32)
    begin = tl.maximum(first, total - mine)
    back = begin
    while back < last:
        t = total - 1 - back
        start, end = tl.load(offsets + t), tl.load(offsets + t + 1)
        real = (b < end - start)[:, None] & (c < CELLS)[None, :]
        dh = tl.load(dout + start * CELLS + narrow, real, 0.0)
        state = _tanh(tl.load(cell + start * CELLS + narrow, real, 0.0))
        before = tl.load(offsets + tl.maximum(t - 1, 0))
        # At the first step of all `before` is `start`, and nothing is loaded.
        seen = (b < tl.minimum(start - before, end - start))[:, None] & (c < CELLS)[None, :]
        old = tl.load(cell + before * CELLS + narrow, seen, 0.0)
        given = gates + start * (4 * CELLS) + wide
        i, f = tl.load(given, real, 0.0), tl.load(given + CELLS, real, 0.0)
        g, o = tl.load(given + 2 * CELLS, real, 0.0), tl.load(given + 3 * CELLS, real, 0.0)
        if t + 1 < mine:
            count = tl.load(offsets + t + 2) - end
            row = end + tl.minimum(b, count - 1)
            if back > begin:
                _wait(arrived + group, (back - begin) * tl.num_programs(0))
            y = _product(d, row, 4 * CELLS, index, values, tile, columns, weights, K, S, KS, CT)
            dh += tl.where((b < count)[:, None], y, 0.0)
        dc += dh * o * (1.0 - state * state)
        put = d + start * (4 * CELLS) + wide
        tl.store(put, dc * g * i * (1.0 - i), real)
        tl.store(put + CELLS, dc * old * f * (1.0 - f), real)
        tl.store(put + 2 * CELLS, dc * i * (1.0 - g * g), real)
        tl.store(put + 3 * CELLS, dh * state * o * (1.0 - o), real)
        _arrive(arrived + group)
        dc = dc * f
        back += 1
    tl.store(carry + narrow, dc, own)
