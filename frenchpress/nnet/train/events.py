"""Events for TensorBoard, where a `.cfg` asks for them and the package is there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from frenchpress.nnet.checkpoint import EVENTS

_NOT_SHOWN = ("epoch", "steps", "errors", "boundaries")


class Events:
    """The figures of metrics.jsonl as scalars over epochs, in a folder of a run.

    The folder is written anew by each start of the run, so that one that was interrupted shows no epoch twice.
    """

    def __init__(self, folder: Path) -> None:
        """ImportError where TensorBoard is not installed."""
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._shown = 0

    def show(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write what of `history`, an entry per epoch, is not there yet."""
        for entry in history[self._shown :]:
            for name in (n for n in entry if n not in _NOT_SHOWN):
                self._writer.add_scalar(name, entry[name], int(entry["epoch"]))
        self._shown = len(history)
        self._writer.flush()


def open_events(out: Path) -> Events | None:
    """Events of the run in `out`; None, and a line that says so, where TensorBoard is not installed."""
    try:
        return Events(out / EVENTS)
    except ImportError:
        print("train.tensorboard: true, but TensorBoard is not installed (pip install -e '.[tensorboard]'); no events")
        return None
