"""Start the workers of a training on this machine, with torch's own launcher, and say in one line what stopped them."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from frenchpress.common import UserError

_SHOWN = 20  # lines of a worker that has failed without a word for users


def launch(size: int, out: Path) -> None:
    """Run this command as `size` workers; output is that of the first. UserError when one of them has failed.

    SystemExit where the first one has said why itself.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or it advises against find_unused_parameters
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory(prefix="frenchpress-workers-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=size,
            run_id="workers",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs, redirects=dict.fromkeys(range(1, size), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "frenchpress.nnet.train", *sys.argv[1:])
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            _explain(out, f"worker {rank} of {size}", rank, failure, Path(logs))


def _explain(out: Path, who: str, rank: int, failure: ProcessFailure, logs: Path) -> None:
    """Say why the first worker that failed did."""
    if failure.exitcode < 0:
        raise UserError(
            f"{out}: {who} was stopped by {failure.signal_name()}, and so were the others; the same command goes on "
            "from the last checkpoint"
        )
    lines = [] if rank == 0 else _last_lines(logs, rank)
    if not lines:  # the first worker writes where we do
        sys.exit(failure.exitcode)
    if lines[-1].startswith("error: "):
        raise UserError(lines[-1].removeprefix("error: "))
    print(*lines, sep="\n", file=sys.stderr)
    raise UserError(f"{out}: {who} failed (exit status {failure.exitcode}); its last lines are above")


def _last_lines(logs: Path, rank: int) -> list[str]:
    paths = logs.glob(f"*/attempt_0/{rank}/stderr.log")
    return [line for path in paths for line in path.read_text(errors="replace").splitlines()][-_SHOWN:]
