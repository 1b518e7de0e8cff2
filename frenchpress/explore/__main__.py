"""Find designs: `python -m frenchpress.explore --task exp/task recipes/explore_16x exp/explore_16x`.

Reads recipes/X/space.yaml, trains designs in exp/X, and writes RESULTS.md, front/*.cfg and trials.yaml into recipes/X.
Stopped at any moment, the same command goes on; given again elsewhere with the same --storage it adds workers.
docs/explore.md explains the file.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import subprocess
import sys
import warnings
from typing import NoReturn

from frenchpress.arguments import parse
from frenchpress.common import UserError, digest, run_main
from frenchpress.explore.load import load_space
from frenchpress.explore.record import RECORD, read_known
from frenchpress.nnet.task import Task
from frenchpress.score.unit import PHONE


def explore(args: argparse.Namespace) -> list[str]:
    """Be one of `args.jobs` workers, and start the others; what failed, in lines."""
    from frenchpress.explore.experiment import Experiments
    from frenchpress.explore.outcome import failures, read_outcome
    from frenchpress.explore.results import write_results
    from frenchpress.explore.storage import DATABASE, open_store, sqlite_url, storage_errors
    from frenchpress.explore.trials import Trials
    from frenchpress.explore.worker import work

    space, task, identity = load_space(args.recipe), Task.load(args.task), digest(args.task)
    if task.unit is not PHONE:
        raise UserError(f"{args.task}: scored in {task.unit.many}; designs are searched by PER, on a task of phones")
    out = args.results or args.recipe
    known = read_known(out / RECORD, identity, args.results is not None)
    url = args.storage or sqlite_url(args.exp / DATABASE)
    store = open_store(url, space, identity, args.heartbeat)
    maker = Trials(space, store, Experiments(space, task, identity, args.exp, args.nj), known)
    with storage_errors(url):
        read_outcome(space, store)  # before others start, so that what is wrong is said once
        others = [start_worker() for _ in range(args.jobs - 1)]
        try:
            for stage in work(space, store, maker):
                page = write_results(maker, out)
                print(f"{space.name}: {stage} is over; {out}/RESULTS.md, {page}", flush=True)
        except BaseException:
            for other in others:
                other.terminate()
            raise
        finally:
            for other in others:
                other.wait()
        stages = read_outcome(space, store).stages.values()
    return [f"{run}: {problem}" for trials in stages for run, problem in failures(trials).items()]


def start_worker() -> subprocess.Popen[bytes]:
    """The same command once more, for one worker."""
    return subprocess.Popen([sys.executable, "-m", "frenchpress.explore", *sys.argv[1:], "--jobs", "1"])


def main() -> None:
    """Command line."""
    args = parse("explore")
    if importlib.util.find_spec("optuna") is None:
        raise UserError("explorations need Optuna, which is not installed: pip install -e '.[explore]'")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # groups of tpe's variables
    signal.signal(signal.SIGTERM, _interrupt)
    if lines := explore(args):
        raise UserError(f"{len(lines)} designs failed; the same command tries them again: {'; '.join(lines)}")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run_main(main)
