"""Decode dev and test with a trained model: `python -m frenchpress.nnet.decode exp/x`.

Log posteriors minus log priors of the tied states go through the task's graph. The acoustic scale and the LM weight
are chosen on dev; test is decoded and scored once with them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, digest, locked_dir, read_yaml, run_main
from frenchpress.common.progress import progress
from frenchpress.config import Config, DecodeConfig, config_differences, config_from_dict, load_config
from frenchpress.decode.search import Decoder, decode_grid
from frenchpress.nnet.checkpoint import CONFIG, EPOCHS, change_decoding, training_config
from frenchpress.nnet.device import choose_device, make_deterministic
from frenchpress.nnet.model import FINAL, AcousticModel, load_model
from frenchpress.nnet.task import Task, TaskSplit
from frenchpress.score.choose import Search, Split, evaluate, evaluate_dev
from frenchpress.score.weights import Grid, HypsByWeights

LogPosteriors = Callable[[list[Tensor]], list[Tensor]]
"""Features float32 [T, D] of some utterances -> log posteriors of the tied states [T, num_pdfs] each."""

NEVER = -1000.0
"""Log-likelihood of a tied state that training never saw: what a network says of it means nothing."""

RAREST = 0.01
"""The least prior of a tied state that training saw, in equal shares, 1 / num_pdfs.

A network that is trained for few epochs, or pressed hard, gives each state some probability everywhere. Divided by the
prior of a state with one frame of 600,000, that little is more than any other state has, and nothing else is found.
"""

_BATCH = 16


def log_priors(pdf_counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logarithm of each tied state's share [num_pdfs] of the training frames, no less than RAREST; 0 if it has none."""
    counts = np.asarray(pdf_counts, np.float64)
    shares = np.maximum(counts / counts.sum(), RAREST / len(counts))
    return np.log(np.where(counts > 0, shares, 1.0)).astype(np.float32)


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
        posteriors = log_posteriors([torch.from_numpy(np.array(split.feats(utt), np.float32)) for utt in utts])
        for utt, logp in zip(utts, posteriors):
            likelihoods = logp.cpu().numpy().astype(np.float32) - priors
            likelihoods[:, unseen] = NEVER
            yield utt, likelihoods


@dataclass(frozen=True)
class Decoding:
    """A task and how to decode it, with `nj` processes."""

    task: Task
    options: DecodeConfig
    nj: int = 1

    @cached_property
    def decoder(self) -> Decoder:
        """The task's graph."""
        beams = {name: getattr(self.options, name) for name in ("beam", "lattice_beam", "max_active")}
        return Decoder(self.task.graph / "HCLG.fst", None, self.task.graph / "words.txt", **beams)

    def references(self, name: str) -> Split:
        """Of dev or test."""
        return Split.load(self.task.path / name, name)

    def key(self, model_digest: str) -> dict[str, object]:
        """What hypotheses depend on."""
        return {"model": model_digest, "task": digest(self.task.path), "decode": _plain(self.options), "rarest": RAREST}

    @property
    def grid(self) -> Grid:
        """The weights to begin with."""
        return Grid.of(self.options.acoustic_scales, self.options.lm_weights)

    def search(self, log_posteriors: LogPosteriors) -> Search:
        """Hypotheses of a split on all of a grid, for the posteriors of one model."""

        def search(split: Split, grid: Grid) -> HypsByWeights:
            part = self.task.split(split.name)
            scores = log_likelihoods(part, log_posteriors, self.task.pdf_counts)
            hyps = {weights: {} for weights in grid}
            decoded = decode_grid(self.decoder, scores, grid.acoustic_scale, grid.lm_weight, self.nj)
            for utt, found in progress(decoded, f"decoding {split.name}", len(part)):
                for weights, words in hyps.items():
                    words[utt] = found[weights.acoustic_scale].by_lm_weight[weights.lm_weight]
            return hyps

        return search


def decode_experiment(
    out: Path,
    task: Task,
    log_posteriors: LogPosteriors,
    options: DecodeConfig,
    model_digest: str,
    nj: int = 1,
) -> str | None:
    """Decode and score dev and test into `out`; the text of PER, or None when all was there already."""
    by = Decoding(task, options, nj)
    dev, test, key = by.references("dev"), by.references("test"), by.key(model_digest)
    return evaluate(out, by.task.scoring, dev, test, by.search(log_posteriors), by.grid, key)


def decode_epochs(out: Path, by: Decoding, device: torch.device) -> Iterator[tuple[int, float]]:
    """Decode dev with the models that were kept after each epoch; yields epoch and PER in percent.

    Weights are chosen for each on dev itself, as they are for the model that was chosen.
    """
    for place in sorted((out / EPOCHS).glob("*"), key=lambda place: int(place.name)):
        yield int(place.name), decode_dev(place, by, load_model(place, device))


def decode_dev(out: Path, by: Decoding, model: AcousticModel) -> float:
    """Decode dev with the `model` in `out`, into decode_dev; its PER in percent. What is done already is kept."""
    with locked_dir(out):
        search, key = by.search(model.batch_log_posteriors), by.key(digest(out / FINAL))
        return evaluate_dev(out, by.task.scoring, by.references("dev"), search, by.grid, key)["per"]


def _plain(options: DecodeConfig) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def trained_config(directory: Path) -> Config:
    """The configuration of the trained experiment in `directory`; UserError where there is none."""
    path = directory / CONFIG
    if not path.is_file() or not (directory / FINAL).is_file():
        raise UserError(f"{directory}: no trained model; stage 4 of run.sh makes it")
    return config_from_dict(read_yaml(path), str(path))


def decoded_as(out: Path, trained: Config, cfg: Path) -> Config:
    """`trained`, that of the experiment in `out`, decoded as `cfg` says now; it is noted in `out`.

    Training is not made again: where `cfg` says something else of it than what `out` was trained with, a line says so.
    """
    wanted = replace(load_config(cfg), seed=trained.seed)
    others = config_differences(training_config(trained), training_config(wanted))
    # How many workers there are is said with the command, as the seed is.
    if other := next((o for o in others if o[0] != "train.workers"), None):
        key, then, now = other
        print(f"{out}: was trained with {key} = {then}, {cfg} now says {now}: decoded as trained", file=sys.stderr)
    if wanted.decode != trained.decode:
        trained = replace(trained, decode=wanted.decode)
        change_decoding(out, trained)
    return trained


def main() -> None:
    """Command line."""
    args = parse("decode")
    out = args.experiment
    config, task = trained_config(out), Task.of(out, args.task)
    if args.config is not None:
        config = decoded_as(out, config, args.config)
    make_deterministic(config)
    device = choose_device(config.train.device)
    model = load_model(out, device)
    if model.sizes.num_pdfs != task.num_pdfs or model.sizes.feat_dim != task.feat_dim:
        raise UserError(
            f"{out}: trained for {model.sizes.num_pdfs} tied states and {model.sizes.feat_dim} features, but "
            f"{task.path} has {task.num_pdfs} and {task.feat_dim}; decode with the task that it was trained on"
        )
    # Before PER is written, which says that all is done.
    by = Decoding(task, config.decode, args.nj)
    for epoch, per in decode_epochs(out, by, device):
        print(f"after epoch {epoch}: {task.unit.rate} {per:.2f} % on dev", flush=True)
    if args.only_dev:
        print(f"{out}: {task.unit.rate} {decode_dev(out, by, model):.2f} % on dev")
        return
    text = decode_experiment(out, task, model.batch_log_posteriors, config.decode, digest(out / FINAL), args.nj)
    print(f"{out}/{task.unit.rate} is up to date" if text is None else text, end="\n" if text is None else "")


if __name__ == "__main__":
    run_main(main)
