"""Do the parts of a task belong together: frame targets, transcripts, priors, graph?

A graph or an alignment of another experiment is not seen in the loss: the network learns whatever the targets say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from frenchpress.config import DecodeConfig
from frenchpress.decode.search import Decoder
from frenchpress.nnet.task import Task
from frenchpress.report.diagnose.findings import Finding
from frenchpress.score.unit import PHONE

LOOKED_AT = 20  # utterances of dev
SPELLED_WRONG = 25.0  # PER of targets against transcripts, like phones in a row as one in both; silences may differ
DECODED_WRONG = 30.0  # error rate of the targets themselves through the graph
APART = 0.25  # nats between mean outputs and priors

_SURE = -20.0  # log-likelihood of a state that the alignment does not say


def target_findings(task: Task, options: DecodeConfig) -> list[Finding]:
    """Targets against transcripts, and through the graph; on the first aligned utterances of dev."""
    utts = [utt for utt in task.split("dev").aligned if task.split("dev").text.get(utt)][:LOOKED_AT]
    if not utts:
        return []
    refs = {utt: task.split("dev").text[utt] for utt in utts}
    if task.unit is PHONE and (finding := _against_transcripts(task, refs)):
        return [finding]
    decoded = task.scoring.score(refs, dict(_through_graph(task, utts, options)), "dev/text", "the graph").counts.rate
    if decoded <= DECODED_WRONG:
        return []
    finding = Finding(
        "graph of another experiment",
        f"the graph turns the alignment itself into phones with a PER of {decoded:.0f} % ({len(utts)} utterances "
        "of dev): its labels mean other tied states than the targets, or its words.txt is another one's.",
        "make the graph from the system that made the alignment (the same final.mdl and tree), then stage 3.",
    )
    return [finding.of(task.unit)]


def _against_transcripts(task: Task, refs: Mapping[str, list[str]]) -> Finding | None:
    """Phones of the targets that are not those of the transcripts `refs`."""
    merged = {utt: [phone for phone, _ in groupby(words)] for utt, words in refs.items()}
    spelled = task.scoring.score(merged, dict(_spelled(task, list(refs))), "dev/text", "dev/phone.ark").counts.rate
    if spelled <= SPELLED_WRONG:
        return None
    return Finding(
        "targets of another corpus",
        f"the phones of the frame targets are {spelled:.0f} % away from the transcripts "
        f"({len(refs)} utterances of dev): the alignment is not of these utterances or of this phone set.",
        "make the task again (stage 3) with the alignments that belong to its transcripts and phones.txt.",
    )


def _spelled(task: Task, utts: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What the frame targets say, like phones in a row as one."""
    for utt in utts:
        phones = task.split("dev").phones[utt]
        begins = np.flatnonzero(np.diff(phones, prepend=-1))
        yield utt, [task.phones[p] for p in phones[begins]]


def _through_graph(task: Task, utts: list[str], options: DecodeConfig) -> Iterator[tuple[str, list[str]]]:
    """What is recognised when the network is as sure as can be of each frame's target."""
    decoder = Decoder(task.graph / "HCLG.fst", None, task.graph / "words.txt", options.beam, max_active=7000)
    for utt in utts:
        pdfs = task.split("dev").pdfs[utt]
        loglikes = np.full((len(pdfs), task.num_pdfs), _SURE, np.float32)
        loglikes[np.arange(len(pdfs)), pdfs] = 0.0
        yield utt, decoder.decode(loglikes, 1.0, utt=utt).words


def prior_finding(mean_posterior: NDArray[np.float64], pdf_counts: NDArray[np.int64]) -> Finding | None:
    """Mean outputs [S] against the priors from frames per tied state [S], which decoding divides by."""
    prior = (pdf_counts + 0.5) / (pdf_counts + 0.5).sum()
    apart = float((mean_posterior * np.log(np.maximum(mean_posterior, 1e-12) / prior)).sum())
    if apart <= APART:
        return None
    worst = int(np.abs(mean_posterior - prior).argmax())
    return Finding(
        "priors unlike outputs",
        f"mean outputs on dev and priors are {apart:.2f} nats apart (Kullback-Leibler); state {worst} has "
        f"{100 * mean_posterior[worst]:.1f} % of the outputs and a prior of {100 * prior[worst]:.1f} %.",
        "the priors (pdf_counts in meta.yaml of the task) should be of the alignment that the model was trained on; "
        "decode with the task of train.yaml. A dev set unlike train, or a model that learnt little, shows here too.",
    )
