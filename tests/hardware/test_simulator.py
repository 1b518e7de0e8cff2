"""The simulator gives the runtime's logits, and the formulas its cycles and accesses, to the last one."""

import numpy as np
import packed_models
import pytest
from packed_models import random_model

from frenchpress.hardware.chip import Cells, Chip, ChipFile
from frenchpress.hardware.cost import frame_cost
from frenchpress.hardware.dataflows import Banks, Blocks, Columns, Dense
from frenchpress.hardware.memory import Memories, Sram
from frenchpress.hardware.simulator.machine import Machine
from frenchpress.packed.index import Level
from frenchpress.packed.reference import quantize_features, run

TWO = Level(4, 1, 2), Level(2, 1, 2)
DENSE = {}
HCGS = {"levels": TWO, "cells": (12, 9)}
OWN = {"levels": TWO, "shared": False, "cells": (8,)}
THREE = {"levels": (Level(6, 1, 1), Level(3, 1, 2), Level(1, 2, 3)), "act_bits": (16, 13, 9), "bits": 5}
SINGLE = {"levels": 0.2, "cells": (9, 6), "bits": 6}
OWN_SINGLE = {"levels": 0.3, "shared": False, "bits": 4, "outputs": 17}
COUNTED = {"levels": packed_models.Banks(1, 5, 2), "cells": (16,), "act_bits": (8, 8, 8)}
ONE = Cells()


def chip(dataflow, cells=ONE, channels=1, **memories):
    """Narrow memories, so that fields share words here and take several there."""
    one = Sram(words=4096, word_bits=48)
    kept = {
        "weights": one, "index": Sram(words=4096, word_bits=7), "activations": Sram(words=4096, word_bits=40),
        "sums": Sram(words=4096, word_bits=32, banks=16), "constants": Sram(words=4096, word_bits=32), **memories,
    }  # fmt: skip
    file = ChipFile("test", clock_mhz=100.0, dataflow={}, cells=cells, channels=channels, memories=Memories(**kept))
    dataflow.check_memories(file.memories)
    return Chip("test.yaml", file, dataflow)


def columns(elements, fifo, run_bits=2, **more):
    bits = {"weights": 24, "index": 70, "sums": 32}
    banks = {name: Sram(words=512, word_bits=size, banks=elements) for name, size in bits.items()}
    return chip(Columns(elements, fifo, run_bits), **banks, **more)


def banks(rows, count, **more):
    return chip(Banks(rows, count), activations=Sram(words=512, word_bits=20, banks=rows * count), **more)


CASES = {
    "dense, a chip without index": (DENSE, chip(Dense(4), index=None)),
    "dense, lanes that no cell fills": (DENSE, chip(Dense(5), Cells(3, 2, 4))),
    "dense, zeros stored": (HCGS, chip(Dense(16))),
    "blocks": (HCGS, chip(Blocks(4, 2, 2))),
    "blocks, smaller than the array": (HCGS, chip(Blocks(4, 4, 4), Cells(2, 5, 3))),
    "blocks, larger than the array": (HCGS, chip(Blocks(2, 1, 1))),
    "blocks, three of four gates": (HCGS, chip(Blocks(3, 2, 1))),
    "blocks, masks of gates": (OWN, chip(Blocks(4, 2, 2))),
    "blocks, three levels": (THREE, chip(Blocks(4, 1, 1))),
    "blocks, dense": (DENSE, chip(Blocks(4, 2, 3))),
    "banks": (SINGLE, banks(2, 4)),
    "banks, frames apart": ({**SINGLE, "context": (6, 3), "stride": 3}, banks(2, 4)),
    "banks, one frame, later": ({**SINGLE, "context": (-3, 3)}, banks(2, 4)),
    "banks, more than columns": (SINGLE, banks(3, 11, weights=Sram(words=4096, word_bits=512))),
    "banks, dense": (DENSE, banks(1, 3)),
    "banks, the packed file counts them": (COUNTED, banks(2, 5)),
    "banks, masks of gates": (OWN_SINGLE, banks(4, 2)),
    "columns": (SINGLE, columns(4, 2)),
    "columns, no queue": (SINGLE, columns(3, 1, run_bits=1)),
    "columns, deep": (OWN_SINGLE, columns(5, 64)),
    "columns, more elements than rows": (HCGS, columns(13, 3)),
    "columns, dense": (DENSE, columns(4, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_bits_cycles_and_accesses_agree(case):
    options, on = CASES[case]
    model = random_model(5, **options)
    feats = np.random.default_rng(1).normal(size=(4, model.input.dim)).astype(np.float32)
    machine, cost = Machine(model, on), frame_cost(model, on)
    assert np.array_equal(machine.run(quantize_features(model.input, feats)), run(model, feats))
    assert machine.trace.cycles == {part.name: part.cycles for part in cost.parts if part.name != "frame"}
    assert +machine.trace.accesses == +cost.accesses
    assert {name: cost.words[name] for name in ("weights",)} == {"weights": machine.words["weights"]}


@pytest.mark.parametrize("case", CASES)
def test_lost_cycles_and_kept_weights_are_all_cycles(case):
    options, on = CASES[case]
    model = random_model(5, **options)
    for part, matrix in zip([p for p in frame_cost(model, on).parts if p.macs], model.matrices):
        assert part.macs == matrix.kept
        assert part.macs / on.dataflow.multipliers + sum(part.lost.values()) == pytest.approx(part.cycles)
        assert all(lost >= -1e-9 for lost in part.lost.values()), part.lost
