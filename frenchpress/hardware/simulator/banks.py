"""The bank-parallel array, cycle by cycle."""

from __future__ import annotations

from frenchpress.hardware.dataflows import Banks
from frenchpress.hardware.simulator.job import Job, Ready


def run_banks(flow: Banks, job: Job, ready: Ready) -> int:
    """Cycles of a product: each group of rows has as many steps as its length in the index says."""
    (weights, at), (index, start) = job.weights[0], job.index[0]
    columns, lanes, bits = job.sizes["columns"], flow.multipliers, job.sizes["bits"]
    size = -(-columns // flow.banks)
    place_bits = max(1, (size - 1).bit_length())
    groups = -(-job.rows // flow.rows)
    lengths = [length for length, _ in index.fields(start, 16, groups)]
    start += -(-groups // max(1, index.word_bits // 16)) * max(1, -(-16 // index.word_bits))
    places = index.fields(start, lanes * place_bits, sum(lengths))
    fields = weights.fields(at, lanes * bits, sum(lengths))
    slow = max(1, -(-lanes * bits // weights.word_bits), -(-lanes * place_bits // index.word_bits))
    cycle = 0
    for group, length in enumerate(lengths):
        sums = [0] * flow.rows
        for _ in range(length):
            numbers, place = job.lanes(next(fields)[0], lanes), next(places)[0]
            for lane, weight in enumerate(numbers):
                row, bank = divmod(lane, flow.banks)
                column = bank * size + (place >> (lane * place_bits) & ((1 << place_bits) - 1))
                # A bank at the edge may have no column at all; what fills it up is zero.
                sums[row] += weight * job.vector.one(min(column, columns - 1))
            cycle += slow
        end = min(job.rows, (group + 1) * flow.rows)
        for k, row in enumerate(range(group * flow.rows, end)):
            job.sums.write(job.sum_of(row), sums[k])
        ready(cycle, end // job.sizes["gates"])
    return cycle
