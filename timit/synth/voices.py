"""Who speaks: the speakers of a synthetic corpus, drawn from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import Any

ACCENTS = (
    "en-US",
    "en-GB-x-rp",
    "en-GB-scotland",
    "en",
    "en-US-nyc",
    "en-GB-x-gbclan",
    "en-GB-x-gbcwmd",
    "en-029",
)
"""espeak-ng's voices of English; the i-th is dialect region DRi."""

_MALE = """
m1 m2 m3 m4 m5 m6 m7 m8 Alex Andy Denis Diogo Gene Henrique Jacky Mario Michael Mike adam antonio benjamin
david ed edward gustave grandpa max michel miguel mike2 paul pedro quincy rob robert victor croak sandro
"""
_FEMALE = "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda linda steph steph2 grandma"

VARIANTS = {"M": tuple(_MALE.split()), "F": tuple(_FEMALE.split())}
"""Variant voices of espeak-ng by sex; whispering, robotic and unintelligible ones are left out."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Speaker:
    """All that makes one voice in one room; `seed` is for what varies from sentence to sentence."""

    id: str
    split: str
    region: int  # 1-8, which is the accent
    variant: str
    rate: int  # words per minute
    pitch: int  # 0-99, as espeak counts
    pitch_range: int
    speed: float  # of the whole signal, pitch and formants with it
    warp: float  # of the formants alone
    snr: float  # dB
    slope: float  # of the noise, dB per octave
    ripple: float  # dB, of the channel's colour
    reverb: float  # dB, of the echoes against the direct sound
    decay: float  # seconds, of the echoes
    seed: str

    @property
    def voice(self) -> str:
        """espeak-ng's name for it."""
        return f"gmw/{ACCENTS[self.region - 1]}+{self.variant}"

    @property
    def place(self) -> str:
        """Directory in the LDC93S1 tree."""
        return f"{'TRAIN' if self.split == 'train' else 'TEST'}/DR{self.region}/{self.id}"

    def describe(self) -> dict[str, Any]:
        """Its fields, for a YAML file."""
        return asdict(self)


def speakers(counts: dict[str, int], seed: int) -> list[Speaker]:
    """So many different speakers per split, in order of splits; the same for the same seed."""
    rng = Random(f"speakers/{seed}")
    taken: set[str] = set()
    result = []
    for split, count in counts.items():
        for i in range(count):
            region, sex = i % len(ACCENTS) + 1, "F" if rng.random() < 0.35 else "M"
            name = _name(rng, sex)
            while name in taken:
                name = _name(rng, sex)
            taken.add(name)
            result.append(_speaker(rng, name, split, region, f"{seed}/{name}"))
    return result


def _speaker(rng: Random, name: str, split: str, region: int, seed: str) -> Speaker:
    variants = VARIANTS[name[0]]
    pitch = (20, 70) if name[0] == "M" else (30, 80)
    return Speaker(
        id=name,
        split=split,
        region=region,
        variant=variants[int(rng.random() * len(variants))],
        rate=int(_between(rng, 140, 185)),
        pitch=int(_between(rng, *pitch)),
        pitch_range=int(_between(rng, 25, 85)),
        speed=_between(rng, 0.94, 1.06),
        warp=_between(rng, 0.92, 1.10),
        snr=_between(rng, 4, 16),
        slope=_between(rng, 0, 6),
        ripple=_between(rng, 2, 5),
        reverb=_between(rng, -22, -8),
        decay=_between(rng, 0.1, 0.3),
        seed=seed,
    )


def _between(rng: Random, low: float, high: float) -> float:
    # Rounded, so that the YAML file says exactly what was used.
    return round(low + (high - low) * rng.random(), 4)


def _name(rng: Random, sex: str) -> str:
    """A speaker's name as TIMIT forms them; the X says that nobody real bears it."""
    letters = "".join(_LETTERS[int(rng.random() * 26)] for _ in range(2))
    return f"{sex}X{letters}{int(rng.random() * 10)}"
