"""Decode dev and test with a trained model: `python -m frenchpress.nnet.decode exp/x`.

Log posteriors minus log priors of the tied states go through the task's graph. The acoustic scale and the LM weight
are chosen on dev; test is decoded and scored once with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from frenchpress.common import UserError, digest, run_main
from frenchpress.config import Config, DecodeConfig, config_from_dict
from frenchpress.decode.search import Decoder, decode_grid
from frenchpress.nnet.checkpoint import CONFIG
from frenchpress.nnet.model import FINAL, load_model
from frenchpress.nnet.task import Task, TaskSplit
from frenchpress.nnet.train import choose_device, make_deterministic
from frenchpress.score.choose import HypsByWeights, Split, Weights, evaluate
from frenchpress.score.scoring import Scoring

LogPosteriors = Callable[[list[Tensor]], list[Tensor]]
"""Features float32 [T, D] of some utterances -> log posteriors of the tied states [T, num_pdfs] each."""

NEVER = -1000.0
"""Log-likelihood of a tied state that training never saw: what a network says of it means nothing."""

_BATCH = 16


def log_priors(pdf_counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logarithm of each tied state's share of the training frames; 0 where it has none."""
    counts = np.asarray(pdf_counts, np.float64)
    return np.log(np.where(counts > 0, counts / counts.sum(), 1.0)).astype(np.float32)


def log_likelihoods(
    split: TaskSplit, log_posteriors: LogPosteriors, pdf_counts: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Utterance and scaled log-likelihoods [T, num_pdfs], shortest first: log p(state | x) - log p(state).

    Bourlard and Morgan, "Connectionist Speech Recognition", 1994, section 6.1.
    """
    priors, unseen = log_priors(pdf_counts), np.asarray(pdf_counts) == 0
    lengths = {utt: len(split.feats(utt)) for utt in split.utts}
    if empty := [utt for utt in split.utts if not lengths[utt]]:
        raise UserError(f"{split.path}/feats.scp: utterance {empty[0]} has no frames")
    order = sorted(split.utts, key=lambda utt: (lengths[utt], utt))
    for start in range(0, len(order), _BATCH):
        utts = order[start : start + _BATCH]
        posteriors = log_posteriors(
            [torch.from_numpy(np.array(split.feats(utt), np.float32)) for utt in utts]
        )
        for utt, logp in zip(utts, posteriors):
            likelihoods = logp.cpu().numpy().astype(np.float32) - priors
            likelihoods[:, unseen] = NEVER
            yield utt, likelihoods


def decode_experiment(
    out: Path,
    task: Task,
    log_posteriors: LogPosteriors,
    options: DecodeConfig,
    model_digest: str,
    nj: int = 1,
) -> str | None:
    """Decode and score dev and test into `out`; the text of PER, or None when all was there already."""
    decoder = Decoder(
        task.graph / "HCLG.fst",
        None,
        task.graph / "words.txt",
        beam=options.beam,
        lattice_beam=options.lattice_beam,
        max_active=options.max_active,
    )

    def search(split: Split, scales: Sequence[float]) -> HypsByWeights:
        scores = log_likelihoods(task.split(split.name), log_posteriors, task.pdf_counts)
        hyps = {Weights(scale, weight): {} for scale in scales for weight in options.lm_weights}
        for utt, found in decode_grid(decoder, scores, scales, options.lm_weights, nj):
            for weights, words in hyps.items():
                words[utt] = found[weights.acoustic_scale].by_lm_weight[weights.lm_weight]
        return hyps

    key = {"model": model_digest, "task": digest(task.path), "decode": _plain(options)}
    scoring = Scoring.load(task.score_map, task.optional_tokens)
    dev, test = (Split.load(task.path / name, name) for name in ("dev", "test"))
    return evaluate(out, scoring, dev, test, search, options.acoustic_scales, key)


def _plain(options: DecodeConfig) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def _config(directory: Path) -> Config:
    path = directory / CONFIG
    if not path.is_file() or not (directory / FINAL).is_file():
        raise UserError(f"{directory}: no trained model; stage 4 of run.sh makes it")
    return config_from_dict(yaml.safe_load(path.read_text("utf-8")), str(path))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Decode and score dev and test with a trained model.")
    parser.add_argument("--task", type=Path, help="the task that the model was trained on (as its train.yaml says)")
    parser.add_argument("--nj", type=int, default=1, help="processes that search (1)")
    parser.add_argument("out", type=Path, help="exp/x, with a trained model in it")
    args = parser.parse_args()
    config, task = _config(args.out), Task.of(args.out, args.task)
    make_deterministic(config)
    model = load_model(args.out, choose_device(config.train.device))
    if model.sizes.num_pdfs != task.num_pdfs or model.sizes.feat_dim != task.feat_dim:
        raise UserError(
            f"{args.out}: trained for {model.sizes.num_pdfs} tied states and {model.sizes.feat_dim} features, but "
            f"{task.path} has {task.num_pdfs} and {task.feat_dim}; decode with the task that it was trained on"
        )
    text = decode_experiment(
        args.out, task, model.batch_log_posteriors, config.decode, digest(args.out / FINAL), args.nj
    )
    print(f"{args.out}/PER is up to date" if text is None else text, end="\n" if text is None else "")


if __name__ == "__main__":
    run_main(main)
