"""Recognise phones in audio with a packed model:

    frenchpress recognise exp/w8a16_hcgs16x/model.press a.wav b.wav
    arecord -q -t raw -f S16_LE -r 16000 | frenchpress recognise exp/w8a16_hcgs16x/model.press -

Prints a line for each phone: file, start and end in seconds, phone; silences are among the phones. A file is one
utterance: one channel, at the model's rate; WAV, FLAC or SPHERE. `-` is standard input, WAV or raw 16-bit samples,
processed as it arrives: a phone is printed 1 to 2 seconds after it was spoken, when it is a second behind the search on
the best path so far. Nearly always the best path at the end has it too; this is not proven. Files give the same phones.
The ends of utterances are not detected: memory grows with the audio.

The real-time factor (time of processing over time of audio; loading the model and waiting for audio left out) goes to
standard error.

A model of `--features lda` or `fbank` needs to know no speaker. One of the default features was trained on features
adapted to each speaker; here the speaker is not known beforehand, and more phones are wrong than the recipe's PER says.
docs/recognise.md has the figures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.decode.search import Decoder
from frenchpress.export.adapt import Adapter
from frenchpress.export.front import GRAPH_FILES
from frenchpress.export.recogniser import Recogniser, Segment, Settings
from frenchpress.kaldi.audio import read_audio_file
from frenchpress.kaldi.audio_stream import stream_samples
from frenchpress.kaldi.io import read_mats
from frenchpress.packed.runtime import LEVELS, Runtime

STANDARD_INPUT = "-"


@dataclass
class Session:
    """A model ready to hear one utterance after the other.

    `adapts`: to each utterance, where its features can be adapted; `transform` [dim, dim + 1]: that of a known speaker
    instead. `busy` and `heard`: seconds of work and of audio.
    """

    runtime: Runtime
    decoder: Decoder
    settings: Settings
    adapts: bool = False
    transform: NDArray[np.float64] | None = None
    busy: float = 0.0
    heard: float = 0.0

    @classmethod
    def load(cls, model: Path, graph: Path, lm_weight: float | None = None) -> Session:
        """Model and graph from files; UserError when one is missing, damaged or does not fit the other."""
        runtime = Runtime.load(model)
        settings = Settings.of(runtime, lm_weight, str(model))
        for name in GRAPH_FILES:
            if not (graph / name).exists():
                raise UserError(f"{graph / name}: no such file; pack writes graph/ beside the model; or give --graph")
        pdfs = np.concatenate([[0], runtime.model.front.label_pdf])
        limits = {"beam": settings.beam, "max_active": settings.max_active}
        decoder = Decoder(graph / "HCLG.fst", pdfs, graph / "words.txt", **limits)
        return cls(runtime, decoder, settings)

    def adapter(self) -> Adapter:
        """What adapts to a speaker not heard yet."""
        return Adapter(self.runtime.model.front, self.transform, not self.adapts)

    def learn(self, utterances: Iterable[tuple[str, Iterable[NDArray[np.float32]]]]) -> None:
        """Hear utterances of one speaker, name and pieces as for `lines`, and keep the transform they come to."""
        adapter = Adapter(self.runtime.model.front, self.transform)
        for name, pieces in utterances:
            for _ in self.lines(name, pieces, adapter):
                pass
        self.transform, self.heard = adapter.settled(), 0.0

    def recognise(self, pieces: Iterable[NDArray[np.float32]], adapter: Adapter | None = None) -> Iterator[Segment]:
        """The phones of one utterance, each as soon as it is settled; pieces float32 [n] of 16-bit range."""
        recogniser = Recogniser(self.runtime, self.decoder, self.settings, adapter or self.adapter())
        for samples in pieces:
            self.heard += len(samples) / self.settings.mfcc.sample_frequency
            begin = time.perf_counter()
            found = recogniser.push(samples)
            self.busy += time.perf_counter() - begin
            yield from found
        begin = time.perf_counter()
        found = recogniser.finish()
        self.busy += time.perf_counter() - begin
        yield from found

    def lines(self, name: str, pieces: Iterable[NDArray[np.float32]], adapter: Adapter | None = None) -> Iterator[str]:
        """`name`, start and end in seconds, phone, of what `recognise` finds; UserErrors begin with the name."""
        shift, who = self.settings.mfcc.frame_shift / 1000, _called(name)
        try:
            for s in self.recognise(pieces, adapter):
                yield f"{name} {s.start * shift:.2f} {s.end * shift:.2f} {self.settings.phones[s.phone]}"
        except UserError as error:
            raise UserError(f"{who}: {str(error).removeprefix(f'{who}: ')}") from None

    def summary(self) -> str:
        """How fast it was."""
        level = self.runtime.level
        return (
            f"{self.heard:.2f} s of audio in {self.busy:.2f} s, real-time factor {self.busy / self.heard:.3f} "
            f"({'numpy' if level is None else LEVELS[level]})"
        )


def _called(name: str) -> str:
    return "standard input" if name == STANDARD_INPUT else name


def audio(name: str, rate: int) -> Iterator[NDArray[np.float32]]:
    """The samples of a file in one piece, or those of standard input as they arrive."""
    if name == STANDARD_INPUT:
        yield from stream_samples(sys.stdin.buffer, rate, _called(name))
    else:
        yield read_audio_file(name, rate)


def speaker_transform(path: Path, speaker: str, dim: int) -> NDArray[np.float64]:
    """The fMLLR transform [dim, dim + 1] of a speaker from an archive such as exp/tri3/trans_dev."""
    found = dict(read_mats(path))
    if speaker not in found:
        example = f", {min(found)} among them" if found else ""
        raise UserError(f"{path}: no transform of {speaker}; it has {len(found)} speakers{example}")
    if found[speaker].shape != (dim, dim + 1):
        raise UserError(f"{path}: {speaker}: {found[speaker].shape}, expected {(dim, dim + 1)}")
    return found[speaker].astype(np.float64)


def _arguments() -> argparse.Namespace:
    args = parse("recognise")
    if not args.audio:
        raise UserError(f"{args.model}: given alone; give a model, then audio files: exp/x/model.press a.wav")
    if (args.transform is None) != (args.speaker is None):
        raise UserError("give both --transform and --speaker, or neither")
    if args.lm_weight is not None and not 0 < args.lm_weight < 1000:
        raise UserError(f"--lm-weight is {args.lm_weight}, expected above 0 and below 1000")
    if args.adapt == "files" and STANDARD_INPUT in args.audio:
        raise UserError("--adapt files hears everything twice, and standard input (-) can be read only once")
    if args.audio.count(STANDARD_INPUT) > 1:
        raise UserError("standard input (-) can be read only once")
    return args


def main() -> None:
    """Command line."""
    args = _arguments()
    session = Session.load(args.model, args.graph or args.model.parent / "graph", args.lm_weight)
    if not session.settings.adapted and (args.transform or args.adapt not in (None, "none")):
        option = "--transform" if args.transform else f"--adapt {args.adapt}"
        raise UserError(f"{args.model}: made of features that know no speaker; leave out {option}")
    session.adapts = args.adapt == "utterance"
    if args.transform:
        dim = session.runtime.model.input.dim
        session.transform = speaker_transform(args.transform, args.speaker, dim)
    rate = int(session.settings.mfcc.sample_frequency)
    if args.adapt == "files" and session.transform is None:
        session.learn((name, audio(name, rate)) for name in args.audio)
    for name in args.audio:
        for line in session.lines(name, audio(name, rate)):
            print(line, flush=True)
    print(session.summary(), file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
