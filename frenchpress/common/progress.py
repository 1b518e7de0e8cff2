"""How far a long loop is: a bar on a terminal; where the output goes to a file, a line now and then.

for utt in progress(utts, "decoding dev"):    # decoding dev: 41 %, 0:02:10 left
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
EVERY = 30.0
"""Seconds between two lines in a file."""


def say(line: str) -> None:
    """Print a line on standard output, above the bars of loops that are under way."""
    tqdm.write(line, file=sys.stdout)


class Meter:
    """Counts what is done of `total`, `done` of it before now, and says so on `stream` (standard error).

    `then`: how many more loops of this length follow in the same run; what is left of the whole run is said too.
    """

    def __init__(
        self,
        what: str,
        total: float,
        done: float = 0,
        then: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.then = what, total, then
        self._done, self._first, self._clock = done, done, clock
        self._stream = sys.stderr if stream is None else stream
        self._began = self._said = clock()
        self._bar = None
        if self._stream.isatty():
            # miniters: without it tqdm starts a thread, and processes that are forked later would inherit its locks.
            options = {"initial": done, "miniters": 1, "mininterval": 0.5, "leave": False, "file": self._stream}
            self._bar = tqdm(total=total, desc=what, **options)

    def update(self, count: float = 1) -> None:
        """So much more is done."""
        self._done += count
        now = self._clock()
        if self._bar is not None:
            if self.then:
                self._bar.set_postfix_str(f"run: {duration(self._left(now)[1])} left", refresh=False)
            self._bar.update(count)
        elif now - self._said >= EVERY:
            self._said = now
            left, of_run = self._left(now)
            share = int(100 * self._done / max(self.total, 1e-9))
            rest = f", {duration(of_run)} of this training" if self.then else ""
            print(f"  {self.what}: {share} %, {duration(left)} left{rest}", file=self._stream, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _left(self, now: float) -> tuple[float, float]:
        """Seconds that are left of this loop, and of the run."""
        each = (now - self._began) / max(self._done - self._first, 1e-9)
        left = each * max(self.total - self._done, 0)
        return left, left + self.then * each * self.total


def progress(
    items: Iterable[Item], what: str, total: float | None = None, size: Callable[[Item], float] | None = None
) -> Iterator[Item]:
    """The items, saying on the way how far they are; `total`: how many (of those that have a length, that).

    `size`: of an item, where they differ much; `total` is then the sum.
    """
    if total is None:
        items = list(items)
        total = len(items) if size is None else sum(map(size, items))
    meter = Meter(what, total)
    try:
        for item in items:
            yield item
            meter.update(1 if size is None else size(item))
    finally:
        meter.close()


def left(seconds: float, done: int, total: int) -> str:
    """`, 0:12:30 left` when `done` of `total` like parts took so many seconds; nothing when there is no more to do."""
    return f", {duration(seconds / done * (total - done))} left" if 0 < done < total else ""


def duration(seconds: float) -> str:
    """`1:02:03`: hours, minutes, seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
