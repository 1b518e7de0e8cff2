"""The block-sequential array and its decoder, cycle by cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from frenchpress.hardware.dataflows import Blocks
from frenchpress.hardware.simulator.index import Kept, Tick, read_blocks
from frenchpress.hardware.simulator.job import Job, Ready


def run_blocks(flow: Blocks, job: Job, ready: Ready) -> int:
    """Cycles of a product: a decoder that reads the index ahead, and an array that waits for it."""
    array = _Array(flow, job, ready)
    decoder = _decoder(flow, job)
    queue: deque[Kept] = deque()
    cycle, open_ = 0, _collect(decoder, queue)
    while open_ or queue or array.busy:
        array.step(queue, cycle)
        if open_:
            open_ = _collect(decoder, queue)
        cycle += 1
        array.report(cycle, not (open_ or queue))
    return cycle


def _decoder(flow: Blocks, job: Job) -> Iterator[Kept | Tick]:
    sizes = job.sizes
    index, start = job.index[0]
    bits = (bit for bit, _ in index.fields(start, 1, 1 << 62))
    if sizes["masks"]:
        for mask in range(sizes["masks"]):
            yield from read_blocks(bits, sizes["levels"], sizes["rows"], sizes["columns"], mask)
        return
    for top in range(0, sizes["rows"], flow.rows):
        for left in range(0, sizes["columns"], flow.columns):
            height, width = min(flow.rows, sizes["rows"] - top), min(flow.columns, sizes["columns"] - left)
            yield Kept(top, left, height, width, 0)


def _collect(decoder: Iterator[Kept | Tick], queue: deque[Kept]) -> bool:
    """Blocks until the decoder has read a number; whether it goes on."""
    for found in decoder:
        if isinstance(found, Tick):
            return True
        queue.append(found)
    return False


class _Array:
    """The multipliers, with the block at hand."""

    def __init__(self, flow: Blocks, job: Job, ready: Ready) -> None:
        self._flow, self._job, self._ready = flow, job, ready
        sizes = job.sizes
        self._shared = sizes["gates"] // max(1, sizes["masks"])
        self._at_once = min(flow.gates, self._shared)
        ram, start = job.weights[0]
        self._lanes = self._at_once * flow.rows * flow.columns
        self._fields = ram.fields(start, self._lanes * sizes["bits"], 1 << 62)
        self._slow = max(1, -(-self._lanes * sizes["bits"] // ram.word_bits))
        self._steps: deque[tuple[Kept, int, int, int]] = deque()
        self._wait, self._row, self._block = 0, None, None
        self._sums: list[int] = []

    @property
    def busy(self) -> bool:
        """Whether a block is at hand."""
        return bool(self._steps or self._wait)

    def step(self, queue: deque[Kept], cycle: int) -> None:
        """One cycle."""
        if self._wait:
            self._wait -= 1
            return
        if not self._steps:
            if not queue:
                return
            self._take(queue.popleft())
        self._wait = self._multiply(*self._steps.popleft()) - 1

    def _take(self, block: Kept) -> None:
        flow, first = self._flow, block.mask * self._shared
        for gate in range(first, first + self._shared, self._at_once):
            for top in range(block.top, block.top + block.height, flow.rows):
                for left in range(block.left, block.left + block.width, flow.columns):
                    self._steps.append((block, gate, top, left))

    def _multiply(self, block: Kept, gate: int, top: int, left: int) -> int:
        """One step; how many cycles its memories take."""
        flow, packing = self._flow, self._job.vector.packing
        width = min(flow.columns, block.left + block.width - left)
        first, last = left // packing.per_word, (left + width - 1) // packing.per_word
        held = [x for word in range(first, last + 1) for x in self._job.vector.word(word)]
        x = held[left - first * packing.per_word :][:width]
        if (block.mask, top, gate) != self._row:
            self._store()
            self._row = block.mask, top, gate
            self._sums = [self._job.sums.read(self._address(k)) for k in range(self._at_once * flow.rows)]
        weights = self._job.lanes(next(self._fields)[0], self._lanes)
        for k in range(self._at_once * flow.rows):
            line = weights[k * flow.columns : (k + 1) * flow.columns]
            self._sums[k] += sum(weight * number for weight, number in zip(line, x))
        self._block = block
        return max(self._slow, last - first + 1)

    def _address(self, lane: int) -> int:
        """Of a lane's sum; lanes beyond the matrix have a place behind all sums."""
        _, top, gate = self._row
        row, gate = top + lane % self._flow.rows, gate + lane // self._flow.rows
        inside = row < self._job.sizes["rows"] and gate < self._job.sizes["gates"]
        return self._job.base + gate * self._job.sizes["rows"] + row if inside else -1

    def _store(self) -> None:
        for lane, total in enumerate(self._sums):
            self._job.sums.write(self._address(lane), total)
        self._sums = []

    def report(self, cycle: int, last: bool) -> None:
        """After each cycle: the rows of blocks that the array has left behind are complete."""
        if self._block is None or self._wait or self._steps:
            return
        sizes = self._job.sizes
        height = sizes["levels"][0]["block"] if sizes["masks"] else self._flow.rows
        final = not sizes["masks"] or self._block.mask == sizes["masks"] - 1
        if last:
            self._store()
        if final:
            self._ready(cycle, min(sizes["rows"], (self._block.top // height + 1) * height))
        self._block = None
