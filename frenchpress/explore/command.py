"""Run a command of this project in a process of its own, without the seconds that loading torch takes each time."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from frenchpress.common import run_main

_LOADED = ["frenchpress.nnet.train", "frenchpress.nnet.decode"]


def run_command(module: str, arguments: Sequence[str], log: Path) -> int:
    """Exit status of `python -m module arguments`, whose output is added to `log`. It is stopped when this program is.

    A server that has loaded the modules, and does nothing else, is copied for each command.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    child = context.Process(target=_be, args=(module, list(arguments), str(log)))
    child.start()
    try:
        child.join()
    except BaseException:
        child.terminate()
        child.join()
        raise
    return child.exitcode or 0


def _be(module: str, arguments: Sequence[str], log: str) -> None:
    """Be the command, in the new process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(log, "ab", buffering=0) as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    found = importlib.import_module(module)
    sys.modules["__main__"] = found  # whose name the command line has that is written down
    sys.argv = [module, *arguments]
    run_main(found.main)
