"""What a transcript consists of and errors are counted in: phones or words."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """`name`: of one token; `rate`: what its error rate is called."""

    name: str
    rate: str

    @property
    def many(self) -> str:
        """Several of them."""
        return f"{self.name}s"

    def said(self, text: str) -> str:
        """A text on phones and their PER, said of this unit."""
        return re.sub(r"\bphone(s?)\b", rf"{self.name}\1", re.sub(r"\bPER\b", self.rate, text))


PHONE, WORD = Unit("phone", "PER"), Unit("word", "WER")
UNITS = {unit.name: unit for unit in (PHONE, WORD)}
