"""A small made task that can be learnt: each phone has its own place in feature space."""

from pathlib import Path

import kaldifst
import numpy as np
import yaml

from frenchpress.common import mark_done
from frenchpress.graph.fst import write_fst
from frenchpress.kaldi.io import write_int_vectors, write_mats

PHONES, STATES, DIM = 4, 12, 40


def make_task(root: Path, utterances: int = 24, seed: int = 0) -> Path:
    """Write a task: phones of some frames with three states each, features their means and noise."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(STATES, DIM))
    for split, count in (("train", utterances), ("dev", 8), ("test", 6)):
        feats, pdfs, phones, text = {}, {}, {}, {}
        for i in range(count):
            sequence = random.integers(0, PHONES, random.integers(2, 14))
            states = np.concatenate([np.repeat(3 * p + np.arange(3), random.integers(2, 6, 3)) for p in sequence])
            utt = f"spk{i % 3}-{split}{i:02}"
            feats[utt] = (means[states] + random.normal(size=(len(states), DIM))).astype(np.float32)
            pdfs[utt], phones[utt] = states.astype(np.int32), (states // 3).astype(np.int32)
            text[utt] = " ".join(f"p{p}" for p in sequence)
        where = root / split
        where.mkdir(parents=True)
        write_mats(where / "feats.ark", where / "feats.scp", sorted(feats.items()))
        write_int_vectors(where / "pdf.ark", sorted(pdfs.items()))
        write_int_vectors(where / "phone.ark", sorted(phones.items()))
        (where / "utt2spk").write_text("".join(f"{u} {u.split('-')[0]}\n" for u in sorted(feats)))
        (where / "text").write_text("".join(f"{u} {text[u]}\n" for u in sorted(feats)))
        if split == "train":
            counts = np.bincount(np.concatenate(list(pdfs.values())), minlength=STATES)
    names = [f"p{p}" for p in range(PHONES)]
    meta = {"num_pdfs": STATES, "num_phones": PHONES, "feat_dim": DIM, "phones": names, "source": "made"}
    (root / "meta.yaml").write_text(yaml.safe_dump({**meta, "pdf_counts": counts.tolist()}))
    (root / "graph").mkdir()
    (root / "score_map.txt").write_text("".join(f"{n} {n}\n" for n in names))
    (root / "optional_tokens").write_text("")
    mark_done(root, {"made": seed})
    return root


def phone_loop():
    """Any sequence of phones: three states each, label state + 1; the phone's word on the way in."""
    fst = kaldifst.StdVectorFst()
    hub = fst.add_state()
    fst.start = hub
    fst.set_final(hub, 0.0)
    for phone in range(PHONES):
        last = hub
        for label in (3 * phone + 1, 3 * phone + 2, 3 * phone + 3):
            state = fst.add_state()
            fst.add_arc(last, kaldifst.StdArc(label, phone + 1 if last == hub else 0, 1.0, state))
            fst.add_arc(state, kaldifst.StdArc(label, 0, 0.5, state))
            last = state
        fst.add_arc(last, kaldifst.StdArc(0, 0, 0.5, hub))
    return fst


def add_graph(root: Path) -> None:
    """Give a task what decoding needs."""
    write_fst(root / "graph/HCLG.fst", phone_loop())
    (root / "graph/words.txt").write_text("<eps> 0\n" + "".join(f"p{p} {p + 1}\n" for p in range(PHONES)))
    mark_done(root, {"made": "with a graph"})
