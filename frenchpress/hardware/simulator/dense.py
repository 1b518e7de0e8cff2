"""The row-parallel array, cycle by cycle."""

from __future__ import annotations

from frenchpress.hardware.dataflows import Dense
from frenchpress.hardware.simulator.job import Job, Ready


def run_dense(flow: Dense, job: Job, ready: Ready) -> int:
    """Cycles of a product, row groups one after the other; a step lasts as long as the slowest memory."""
    ram, start = job.weights[0]
    columns, groups = job.sizes["columns"], -(-job.rows // flow.lanes)
    fields = ram.fields(start, flow.lanes * job.sizes["bits"], groups * columns)
    words_each = max(1, -(-flow.lanes * job.sizes["bits"] // ram.word_bits))
    cycle = 0
    for group in range(groups):
        sums, held = [0] * flow.lanes, []
        for column in range(columns):
            at = column % job.vector.packing.per_word
            if at == 0:
                held = job.vector.word(column // job.vector.packing.per_word)
            weights = job.lanes(next(fields)[0], flow.lanes)
            sums = [total + weight * held[at] for total, weight in zip(sums, weights)]
            cycle += words_each
        end = min(job.rows, (group + 1) * flow.lanes)
        for lane, row in enumerate(range(group * flow.lanes, end)):
            job.sums.write(job.sum_of(row), sums[lane])
        ready(cycle, end // job.sizes["gates"])
    return cycle
