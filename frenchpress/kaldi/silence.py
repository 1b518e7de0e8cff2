"""Which phones of a corpus are silence, by name."""

from __future__ import annotations

from collections.abc import Iterable

SILENCE = "SIL"
"""What all of them are called from stage 0 on."""
USUAL = ("sil", "sp", "ssil", "pau", "silence", "pause", "<sil>", "<silence>", "<pause>", "[sil]", "!sil", "#h", "h#")
"""Names that people use, in any mixture of cases."""
NOISES = ("spn", "nsn", "lau", "<spn>", "<nsn>", "noise", "<noise>", "[noise]", "laughter", "<laughter>", "breath")
"""Sounds that are no speech: phones with models of their own that are not scored, in any mixture of cases."""


class SilenceNames:
    """The names in force: those given, spelt exactly so, or else the usual ones."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        self.given = tuple(given)

    def __contains__(self, phone: str) -> bool:
        return phone == SILENCE or (phone in self.given if self.given else phone.lower() in USUAL)


def is_noise(phone: str) -> bool:
    """Whether a phone is called what is no speech."""
    return phone.lower() in NOISES
