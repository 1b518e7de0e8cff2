"""French Press from Python: what `frenchpress.load` and `frenchpress.Recogniser` give. docs/python.md has examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from frenchpress.common import UserError
from frenchpress.export.front import find_system, make_front
from frenchpress.export.recognise import Session
from frenchpress.export.recogniser import Recogniser as Utterance
from frenchpress.export.recogniser import Segment, audio_features
from frenchpress.feats.options import MfccConfig, parse_config
from frenchpress.feats.unadapted import MADE_OF
from frenchpress.gmm.fmllr import apply_affine
from frenchpress.kaldi.audio import read_audio_file
from frenchpress.kaldi.wav import from_floats
from frenchpress.nnet.model import AcousticModel, load_model
from frenchpress.nnet.task import Task
from frenchpress.packed.model import PackedFront

Audio = str | PathLike[str] | ArrayLike
"""An audio file, or samples [N] of one channel: int16, or floating point from -1 to 1 as soundfile reads them."""

_HEADS = {"states": "cd", "phones": "mono"}


@dataclass(frozen=True)
class Phone:
    """A phone with its start and end, in seconds."""

    name: str
    start: float
    end: float


class TrainedModel:
    """A trained model: `model` is the torch module, `phones` and `task` are those it was trained on."""

    def __init__(self, directory: Path, task: Path | None = None) -> None:
        self.directory, self._given = directory, task
        self.model: AcousticModel = load_model(directory)

    @cached_property
    def task(self) -> Task:
        """Features, targets and graph of training; UserError when they have moved (name them: `task=`)."""
        return Task.of(self.directory, self._given)

    @property
    def phones(self) -> list[str]:
        """The names of the columns of phone posteriors [P]."""
        return self.task.phones

    def posteriors(
        self, given: Audio, of: str = "states", transform: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """What the model says of each frame, each row adding up to one: float32 [T, tied states], or [T, phones].

        `given`: audio, or features [T, D] as the task has them. `transform`: fMLLR of the speaker [D, D + 1]; audio
        without it is that of a speaker to whom nothing is adapted. UserError for what cannot be read or does not fit.
        """
        if of not in _HEADS:
            raise UserError(f"posteriors of {of!r}, expected of {' or '.join(_HEADS)}")
        feats = self.features(given)
        if transform is not None:
            feats = apply_affine(feats, transform)
        logs = self.model.batch_log_posteriors([torch.from_numpy(feats)], _HEADS[of])[0]
        return logs.exp().cpu().numpy()

    def features(self, given: Audio) -> NDArray[np.float32]:
        """Audio, or features [T, D], which stay what they are -> features float32 [T, D], without fMLLR."""
        dim = self.model.sizes.feat_dim
        if isinstance(given, (str, PathLike)) or np.ndim(given) == 1:
            front, mfcc = self._front
            samples = samples_of(given, int(mfcc.sample_frequency))
            return audio_features(samples, front, mfcc, MADE_OF[self.task.features])
        feats = np.array(given, np.float32)
        if feats.ndim != 2 or feats.shape[1] != dim or not len(feats):
            raise UserError(f"an array of shape {feats.shape}; expected samples [N] or features [T, {dim}]")
        return feats

    @cached_property
    def _front(self) -> tuple[PackedFront, MfccConfig]:
        """How audio becomes features; reads the training set once."""
        origin = find_system(self.task)
        if origin is None:
            raise UserError(f"{self.task.path}: the GMM system and training set are not beside it; give features")
        front, lines = make_front(*origin, self.task)
        return front, parse_config(lines, origin[1])


def load(experiment: str | PathLike[str], task: str | PathLike[str] | None = None) -> TrainedModel:
    """The trained model in an experiment's directory; `task`: where its task is now. UserError if there is none."""
    return TrainedModel(Path(experiment), None if task is None else Path(task))


class Recogniser:
    """A packed model that hears audio. `rate`: samples per second that it wants; `names`: of the phones it knows."""

    def __init__(
        self,
        model: str | PathLike[str],
        graph: str | PathLike[str] | None = None,
        lm_weight: float | None = None,
        adapt: bool = False,
    ) -> None:
        """`model`: model.press; `graph`: its directory of HCLG.fst (graph/ beside it); `lm_weight`: that chosen on dev.

        `adapt`: to the speaker, while an utterance goes on (not, as `frenchpress recognise`).
        """
        path = Path(model)
        self._session = Session.load(path, path.parent / "graph" if graph is None else Path(graph), lm_weight)
        self._session.adapts = adapt
        self.rate, self.names = int(self._session.settings.mfcc.sample_frequency), self._session.settings.phones

    def phones(self, audio: Audio) -> list[Phone]:
        """The phones of one utterance with their times, silences among them."""
        utterance = self._utterance()
        return self.named([*utterance.push(samples_of(audio, self.rate)), *utterance.finish()])

    def stream(self) -> Stream:
        """An utterance of which the audio comes in pieces."""
        return Stream(self._utterance(), self)

    def _utterance(self) -> Utterance:
        session = self._session
        return Utterance(session.runtime, session.decoder, session.settings, session.adapter())

    def named(self, found: Iterable[Segment]) -> list[Phone]:
        """Segments in frames as phones in seconds."""
        shift = self._session.settings.mfcc.frame_shift / 1000
        return [Phone(self.names[s.phone], round(s.start * shift, 4), round(s.end * shift, 4)) for s in found]


class Stream:
    """One utterance, as its audio arrives. `phones`: all that are settled so far."""

    def __init__(self, utterance: Utterance, recogniser: Recogniser) -> None:
        self._utterance, self._recogniser = utterance, recogniser
        self.phones: list[Phone] = []

    def push(self, samples: ArrayLike) -> list[Phone]:
        """The next samples [n] -> the phones that they settle; these do not change any more."""
        return self._settled(self._utterance.push(samples_of(samples, self._recogniser.rate)))

    def so_far(self) -> list[Phone]:
        """The best guess at all phones heard so far; the last ones may still change."""
        return self._recogniser.named(self._utterance.so_far())

    def finish(self) -> list[Phone]:
        """The audio is over: the last phones. UserError when it was shorter than a frame."""
        return self._settled(self._utterance.finish())

    def _settled(self, found: list[Segment]) -> list[Phone]:
        new = self._recogniser.named(found)
        self.phones += new
        return new


def samples_of(audio: Audio, rate: int) -> NDArray[np.float32]:
    """Samples float32 [N] in the range of 16-bit integers; UserError for what is no audio of one channel."""
    if isinstance(audio, (str, PathLike)):
        return read_audio_file(Path(audio), rate)
    samples = np.asarray(audio)
    if samples.ndim != 1:
        raise UserError(f"samples of shape {samples.shape}, expected one channel [N]")
    if samples.dtype == np.int16:
        return samples.astype(np.float32)
    if samples.dtype.kind != "f":
        raise UserError(f"samples of type {samples.dtype}, expected int16, or floating point from -1 to 1")
    return from_floats(samples)
