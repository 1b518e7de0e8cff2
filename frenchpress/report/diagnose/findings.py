"""A finding: what was seen, and what to try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`kind`: a short name; `seen`: what was measured, one or two sentences; `advice`: what to try."""

    kind: str
    seen: str
    advice: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.seen}\n    Try: {self.advice}"
