"""Elements with queues, cycle by cycle."""

from __future__ import annotations

from collections import deque

from frenchpress.hardware.dataflows import Columns
from frenchpress.hardware.simulator.job import Job, Ready


def run_columns(flow: Columns, job: Job, ready: Ready) -> int:
    """Cycles of a product: a sender, and elements that take from their queues."""
    elements = [_Element(flow, job, number) for number in range(flow.elements)]
    columns, sent, cycle, held = job.sizes["columns"], 0, 0, []
    while sent < columns or any(element.busy for element in elements):
        for element in elements:
            element.step(cycle)
        if sent < columns and all(element.has_room for element in elements):
            at = sent % job.vector.packing.per_word
            if at == 0:
                held = job.vector.word(sent // job.vector.packing.per_word)
            for element in elements:
                element.queue.append((sent, held[at]))
            sent += 1
        cycle += 1
    ready(cycle, job.sizes["rows"])
    return cycle


class _Element:
    """A processing element with its queue of activations."""

    def __init__(self, flow: Columns, job: Job, number: int) -> None:
        self._flow, self._job, self._number = flow, job, number
        self.queue: deque[tuple[int, int]] = deque()
        index, start = job.index[number]
        self._ends = (end for end, _ in index.fields(start, flow.pointer_bits, job.sizes["columns"]))
        ram, start = job.weights[number]
        # As many as the last pointer says; the generator stops being asked there.
        self._entries = (entry for entry, _ in ram.fields(start, job.sizes["bits"] + flow.run_bits, 1 << 62))
        self._read = self._left = self._activation = 0
        self._place = -1

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._left or self.queue)

    @property
    def has_room(self) -> bool:
        """Whether another activation can come."""
        return len(self.queue) < self._flow.fifo

    def step(self, cycle: int) -> None:
        """One cycle: an entry of the column at hand, or of the next one; one without entries takes a cycle too."""
        if not self._left:
            if not self.queue:
                return
            _, self._activation = self.queue.popleft()
            end = next(self._ends)
            self._left, self._read, self._place = end - self._read, end, -1
        if self._left:
            self._left -= 1
            self._multiply(next(self._entries))

    def _multiply(self, entry: int) -> None:
        bits, job = self._job.sizes["bits"], self._job
        self._place += (entry >> bits) + 1
        row = self._place * self._flow.elements + self._number
        total = job.sums.read(job.base + row)
        weight = job.weight(entry & ((1 << bits) - 1))
        job.sums.write(job.base + row, total + weight * self._activation)
