"""Build a task: features, frame targets and a graph over tied states, from alignments and a graph over transitions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from frenchpress.common import UserError, atomic_dir, digest, is_done, locked_dir, mark_done
from frenchpress.decode.search import read_symbols
from frenchpress.graph.fst import FstArcs, read_fst, write_fst
from frenchpress.kaldi.datadir import in_order
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.io import MatrixReader, read_int_vectors, write_int_vectors, write_mats
from frenchpress.kaldi.scp import read_table
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.nnet.task_scoring import NOT_SCORED, Words, check_references, read_scoring, scored_unit
from frenchpress.nnet.task_sources import SPLITS, Sources, read_phones
from frenchpress.score.unit import PHONE, WORD, Unit


def build(sources: Sources, out: Path, allow_pipes: bool = False) -> bool:
    """Write a task directory (see the module `task`); False when it is there already.

    `allow_pipes`: entries of feats.scp may be shell commands, which are run.
    """
    key = {"stage": "task", "inputs": digest(*sources.files())}
    with locked_dir(out.parent):
        if is_done(out, key):
            return False
        with atomic_dir(out) as work:
            _write(sources, work, allow_pipes)
            mark_done(work, key)
    return True


def _write(sources: Sources, work: Path, allow_pipes: bool) -> None:
    phones = read_phones(sources.lang)
    model = _model(sources)
    if model.num_phones != len(phones):
        raise UserError(f"{sources.lang}/phones.txt: {len(phones)} phones, but the model has {model.num_phones}")
    unit = scored_unit(sources, phones)  # before the work of hours: it may say that there is nothing to score
    check = _write_scoring(sources, unit, phones, work)
    counts, dims = np.zeros(model.num_pdfs, np.int64), set()
    for split in SPLITS:
        pdfs, dim = _write_split(sources, split, model, work / split, allow_pipes)
        dims.add(dim)
        if split == "train":
            counts = np.bincount(np.concatenate(pdfs), minlength=model.num_pdfs)
        else:
            check(sources.text[split], read_table(work / split / "text"))
    if len(dims) > 1:
        raise UserError(f"{sources.name}: features have {sorted(dims)} dimensions in the three sets, expected one")
    _write_graph(sources, model, work / "graph")
    meta = {
        "num_pdfs": model.num_pdfs,
        "num_phones": len(phones),
        "feat_dim": dims.pop(),
        "phones": phones,
        "pdf_counts": counts.tolist(),
        "source": sources.name,
        "features": sources.features,
    }
    if unit is not PHONE:
        meta["unit"] = unit.name
    (work / "meta.yaml").write_text(yaml.safe_dump(meta, sort_keys=False, default_flow_style=None, width=100))


def _model(sources: Sources) -> TransitionModel:
    """The transition model, which the three alignments and the graph must share."""
    models = {}
    for place in (*sources.ali.values(), sources.graph.parent):
        if place and (place / "final.mdl").exists():
            models[place], _ = read_model(place / "final.mdl")
    first_place, first = next(iter(models.items()))
    for place, model in models.items():
        if not np.array_equal(model.tuples, first.tuples):
            raise UserError(f"{place}/final.mdl: not the system of {first_place}; align and decode with one system")
    return first


def _write_split(
    sources: Sources, split: str, model: TransitionModel, work: Path, allow_pipes: bool
) -> tuple[list[np.ndarray], int]:
    """Write one split; returns its tied states per utterance and the dimension of its features."""
    work.mkdir()
    feats = MatrixReader(sources.feats[split] / "feats.scp", allow_pipes)
    tids = _alignments(sources.ali[split], model)
    utts = _chosen(split, feats, tids)
    _write_tables(sources, split, utts, work)
    pdfs: dict[str, np.ndarray] = {}
    phones: dict[str, np.ndarray] = {}
    dims: set[int] = set()

    def matrices() -> Iterator[tuple[str, np.ndarray]]:
        for utt in utts:
            matrix = feats[utt].astype(np.float32)
            dims.add(matrix.shape[1])
            if utt in tids:
                if len(matrix) != len(tids[utt]):
                    raise UserError(
                        f"{feats.path}: {utt}: {len(matrix)} frames, but {len(tids[utt])} in {sources.ali[split]}"
                    )
                pdfs[utt] = model.tid2pdf[tids[utt]]
                phones[utt] = model.tid2phone[tids[utt]] - 1
            yield utt, matrix

    # The bare name is found beside the scp, so the directory may be moved.
    write_mats(work / "feats.ark", work / "feats.scp", matrices(), "feats.ark")
    write_int_vectors(work / "pdf.ark", pdfs)
    write_int_vectors(work / "phone.ark", phones)
    if len(dims) != 1:
        raise UserError(f"{feats.path}: features have {sorted(dims)} dimensions, expected one")
    return list(pdfs.values()), dims.pop()


def _alignments(place: Path | None, model: TransitionModel) -> dict[str, np.ndarray]:
    tids: dict[str, np.ndarray] = {}
    for path in sorted(place.glob("ali.*.gz")) if place else []:
        for utt, vector in read_int_vectors(path).items():
            if utt in tids:
                raise UserError(f"{path}: {utt} is in another ali.*.gz of {place} as well")
            if len(vector) and not 0 < vector.min() <= vector.max() <= model.num_tids:
                raise UserError(f"{path}: {utt}: transition-ids outside 1 to {model.num_tids}, of another model?")
            tids[utt] = vector
    return tids


def _chosen(split: str, feats: MatrixReader, tids: dict[str, np.ndarray]) -> list[str]:
    """Utterances of a split in order: to train on, those with alignment; to be measured, all."""
    utts = list(in_order(dict(feats.entries)))
    aligned = [utt for utt in utts if utt in tids]
    if missing := len(utts) - len(aligned):
        fate = "left out" if split == "train" else "decoded and scored, but without frame targets"
        print(f"{split}: {missing} of {len(utts)} utterances have no alignment: {fate}")
    if not (aligned if split == "train" else utts):
        raise UserError(f"{feats.path}: no utterance has both features and alignment")
    return aligned if split == "train" else utts


def _write_tables(sources: Sources, split: str, utts: list[str], work: Path) -> None:
    for name, path in (("utt2spk", sources.feats[split] / "utt2spk"), ("text", sources.text[split])):
        table = read_table(path)
        missing = [utt for utt in utts if utt not in table]
        if missing:
            raise UserError(f"{path}: no line for {missing[0]}, which has features ({len(missing)} such)")
        (work / name).write_text("".join(f"{utt} {table[utt]}".rstrip() + "\n" for utt in utts))


def _write_graph(sources: Sources, model: TransitionModel, work: Path) -> None:
    """The graph with tied states, counted from 1, in place of transition-ids."""
    work.mkdir()
    path = sources.graph / "HCLG.fst"
    arcs = FstArcs.of(read_fst(path))
    if arcs.num_arcs == 0 or arcs.ilabel.max() > model.num_tids:
        raise UserError(f"{path}: empty, or has labels above the model's {model.num_tids} transition-ids")
    label = model.tid2pdf + 1
    label[0] = 0
    arcs.ilabel = label[arcs.ilabel]
    known = read_symbols(sources.graph / "words.txt")
    if (top := int(arcs.olabel.max())) and (unknown := set(np.unique(arcs.olabel).tolist()) - {0} - set(known)):
        raise UserError(
            f"{sources.graph}/words.txt: has no word of number {min(unknown)}, but HCLG.fst has words up to {top}; "
            "graph and words.txt must come from the same mkgraph.sh"
        )
    write_fst(work / "HCLG.fst", arcs.build())
    shutil.copyfile(sources.graph / "words.txt", work / "words.txt")


def _write_scoring(
    sources: Sources, unit: Unit, phones: list[str], work: Path
) -> Callable[[Path, Collection[str]], None]:
    """Write what is scored as what; returns a check of the references in a file, those of some utterances."""
    if unit is WORD:
        words = Words.read(sources)
        (work / NOT_SCORED).write_text("".join(f"{word}\n" for word in words.not_scored))
        return words.check
    table, optional = read_scoring(sources, phones)
    lines = "".join(f"{phone} {scored}".rstrip() + "\n" for phone, scored in in_order(table).items())
    (work / "score_map.txt").write_text(lines)
    (work / "optional_tokens").write_text("".join(f"{token}\n" for token in optional))
    return partial(check_references, table)
