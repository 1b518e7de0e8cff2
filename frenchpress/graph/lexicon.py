"""L: phones to words, for dictionaries in which every word is one phone."""

from __future__ import annotations

import math

import kaldifst
import numpy as np

from frenchpress.graph.fst import arcs_from_rows


def lexicon_fst(
    entries: list[tuple[int, int]],
    silence: int,
    sil_prob: float,
    disambig: tuple[int, int, int] | None = None,
) -> kaldifst.StdVectorFst:
    """Transducer of phone ids to word ids, `entries` being (word, phone).

    With `sil_prob` above 0 the phone `silence` may come before the first and after every word with that
    probability. `disambig` = (#0 as phone, #0 as word, #1 as phone) makes the determinizable form: #0 passes from
    the grammar through a loop, and #1 marks the optional silence, which a word may be pronounced as too.
    """
    arcs: list[tuple[int, int, int, float, int]] = []
    if sil_prob == 0:
        home = 0
        arcs += [(home, phone, word, 0.0, home) for word, phone in entries]
    else:
        start, home, pause = 0, 1, 2
        without, having = -math.log(1 - sil_prob), -math.log(sil_prob)
        arcs += [(start, 0, 0, without, home), (start, 0, 0, having, pause)]
        for word, phone in entries:
            arcs += [(home, phone, word, without, home), (home, phone, word, having, pause)]
        if disambig is None:
            arcs.append((pause, silence, 0, 0.0, home))
        else:
            arcs += [(pause, silence, 0, 0.0, 3), (3, disambig[2], 0, 0.0, home)]
    if disambig is not None:
        arcs.append((home, disambig[0], disambig[1], 0.0, home))
    finals = np.full(1 + max(max(arc[0], arc[4]) for arc in arcs), np.inf, np.float32)
    finals[home] = 0.0
    fst = arcs_from_rows(0, finals, arcs).build()
    kaldifst.arcsort(fst, "olabel")
    return fst
