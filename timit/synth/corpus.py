"""Build a synthetic twin of TIMIT: an LDC93S1 tree that `timit.reader` reads like the real one."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from frenchpress.common import UserError, atomic_dir, atomic_path, is_done, locked_dir, mark_done
from frenchpress.common.progress import progress
from timit.audio import RATE, write_sphere
from timit.reader import MARKER, Segment
from timit.synth import effects, espeak
from timit.synth.labels import Word, segments
from timit.synth.sentences import COVERAGE, SA, sentences
from timit.synth.voices import Speaker, speakers

FORMAT = 3
"""Counted up when the same seed gives other samples than before."""

SIZES = {
    "tiny": {"train": 8, "dev": 1, "test": 1},
    "small": {"train": 48, "dev": 8, "test": 12},
    "timit": {"train": 462, "dev": 50, "test": 24},
}
"""Speakers per split."""

SENTENCES = 8
"""Scored sentences per speaker: five SX and three SI; the two SA come on top."""

_STARTED = ".synth"
_PATIENCE = 300.0  # seconds; a speaker takes one or two


@dataclass(frozen=True)
class _Job:
    out: Path
    speaker: Speaker
    texts: dict[str, str]  # SX12 -> sentence
    key: dict[str, Any]


def build(out: Path, size: str, jobs: int, seed: int) -> bool:
    """Make or complete the tree at `out`; speakers that are whole are kept. False if it was already complete."""
    key = {"format": FORMAT, "espeak": espeak.version(), "size": size, "seed": seed}
    _check_ours(out)
    with locked_dir(out):
        if is_done(out, key):
            return False
        (out / MARKER).unlink(missing_ok=True)
        (out / ".done").unlink(missing_ok=True)
        (out / _STARTED).touch()
        work = _jobs(out, SIZES[size], seed, key)
        _sweep(out, {job.out for job in work})
        todo = [job for job in work if not is_done(job.out, job.key)]
        _run(todo, jobs)
        with atomic_path(out / MARKER) as path:
            path.write_text(_marker(work, key), encoding="utf-8")
        mark_done(out, key)
    return True


def _run(todo: list[_Job], jobs: int) -> None:
    """One process per speaker: espeak-ng keeps state, and only a fresh process always says the same."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # Ctrl-C is the parent's to answer.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with context.Pool(jobs, signal.signal, ignore, maxtasksperchild=1) as pool:
        finished = pool.imap_unordered(_make_speaker, todo)
        for job in progress(todo, "synthesising, speakers"):
            try:
                finished.next(_PATIENCE)
            except multiprocessing.TimeoutError:
                # A worker that was killed from outside never answers.
                raise UserError(f"{job.out.parents[2]}: a synthesis process died; run the same command again") from None


def _check_ours(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file, expected a directory to write the corpus to")
    names = {path.name for path in out.iterdir()}
    if names and not names & {_STARTED, MARKER} and names != {".lock"}:
        raise UserError(f"{out}: holds other files, expected a new or empty directory, or a synthetic corpus")


def _jobs(out: Path, counts: dict[str, int], seed: int, key: dict[str, Any]) -> list[_Job]:
    stream = sentences(seed)
    coverage = iter(COVERAGE)
    numbers = {"SX": 0, "SI": 0}
    jobs = []
    for speaker in speakers(counts, seed):
        texts = {"SA1": SA[0], "SA2": SA[1]}
        first = list(islice(coverage, 1))
        for i, text in enumerate(first + list(islice(stream, SENTENCES - len(first)))):
            kind = "SX" if i < 5 else "SI"
            numbers[kind] += 1
            texts[f"{kind}{numbers[kind]}"] = text
        content = hashlib.sha256(repr((speaker, texts)).encode()).hexdigest()
        jobs.append(_Job(out / speaker.place, speaker, texts, {**key, "content": content}))
    return jobs


def _sweep(out: Path, wanted: set[Path]) -> None:
    """Speakers of an earlier size or seed, and what was left half-written, go."""
    for path in list(out.glob("T*/DR*/*")):
        if path not in wanted:
            shutil.rmtree(path)


def _marker(work: list[_Job], key: dict[str, Any]) -> str:
    splits: dict[str, list[str]] = {}
    for job in work:
        splits.setdefault(job.speaker.split, []).append(job.speaker.id)
    content = {
        **key,
        "sentences_per_speaker": SENTENCES,
        "splits": splits,
        "speakers": [job.speaker.describe() for job in work],
    }
    return "# A synthetic twin of TIMIT, made by timit.synth.\n" + yaml.safe_dump(content, sort_keys=False)


def _make_speaker(job: _Job) -> None:
    voice = espeak.Espeak(job.speaker.voice)
    room = _Room(job.speaker)
    with atomic_dir(job.out) as place:
        for name, text in job.texts.items():
            rng = Random(f"{job.speaker.seed}/{name}")
            speech = voice.say(
                text, _vary(rng, job.speaker.rate), _vary(rng, job.speaker.pitch), job.speaker.pitch_range
            )
            labels, words = segments(speech, voice.rate, text.split())
            samples, start, scale = room.record(speech.samples, voice.rate, rng)
            _write(place / name, f"{job.speaker.id.lower()}_{name.lower()}", text, samples)
            _write_labels(place / name, labels, words, len(samples), start, scale)
        mark_done(place, job.key)


class _Room:
    """A speaker's tract and microphone: what happens to all of its sentences."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    def record(self, clean: np.ndarray, rate: int, rng: Random) -> tuple[np.ndarray, int, float]:
        """int16 [N] at 16 kHz; the sample at which `clean` begins in it, and samples per sample of `clean`."""
        speaker = self._speaker
        speed = speaker.speed * (0.97 + 0.06 * rng.random())
        padded = np.zeros(effects.fast_size(len(clean)))
        padded[: len(clean)] = clean
        length = effects.fast_size(int(len(padded) * RATE / (rate * speed)))
        start, end = (int(RATE * (0.08 + 0.12 * rng.random())) for _ in range(2))
        signal = effects.resample(padded, length)
        # Voice, place and noise differ from sentence to sentence, so that knowing the speaker does not undo them.
        warp = speaker.warp * (0.95 + 0.1 * rng.random())
        signal = effects.warp_formants(np.pad(signal, (start, end)), warp)
        noise = _generator(f"{speaker.seed}/{rng.random()}")
        response = effects.channel(noise, RATE, speaker.ripple, speaker.reverb, speaker.decay)
        signal = effects.convolve(signal, response)
        snr = speaker.snr + 10.0 * (rng.random() - 0.5)
        slope = speaker.slope + 6.0 * (rng.random() - 0.5)
        signal = effects.add_noise(signal, noise, RATE, snr, slope)
        signal *= 32767 * (0.15 + 0.6 * rng.random()) / np.abs(signal).max()
        return np.rint(signal).astype(np.int16), start, length / len(padded)


def _write(stem: Path, utterance: str, text: str, samples: np.ndarray) -> None:
    write_sphere(stem.with_suffix(".WAV"), samples, utterance)
    stem.with_suffix(".TXT").write_text(f"0 {len(samples)} {text}\n", encoding="ascii")


def _write_labels(stem: Path, labels: list[Segment], words: list[Word], length: int, start: int, scale: float) -> None:
    def place(sample: int) -> int:
        return start + round(sample * scale)

    def lines(spans: Iterator[tuple[int, int, str]]) -> str:
        return "".join(f"{begin} {end} {name}\n" for begin, end, name in spans)

    cuts = [0, *(place(label.end) for label in labels[:-1]), length]
    phones = ((begin, end, label.label) for begin, end, label in zip(cuts, cuts[1:], labels))
    stem.with_suffix(".PHN").write_text(lines(phones), encoding="ascii")
    said = ((place(word.begin), place(word.end), word.text) for word in words)
    stem.with_suffix(".WRD").write_text(lines(said), encoding="ascii")


def _vary(rng: Random, value: int) -> int:
    return round(value * (0.92 + 0.16 * rng.random()))


def _generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little"))
