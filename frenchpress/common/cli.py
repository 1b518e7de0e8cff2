"""Run a command-line entry so that bad input is one line on stderr and not a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from frenchpress.common.errors import UserError

_ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room")
_ADVICE |= dict.fromkeys((errno.EACCES, errno.EROFS), "make it writable")


def run_main(main: Callable[[], None]) -> None:
    """Call `main` and exit: 0 when it returns, 1 with one line on bad input or an error of a file, 130 on Ctrl-C.

    Whoever reads the output may stop reading (`| head -1`): that ends the program in silence, with 141 as a shell says
    of a program that this stopped.
    `--help` then calls the program as its users do, `python -m package.module`.
    """
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        sys.argv[0] = f"python -m {spec.name.removesuffix('.__main__')}"
    try:
        main()
        if sys.stdout is not None:  # closed by whoever called
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written goes nowhere, or Python would complain about it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        kept = "the same command goes on from here, or begins again where nothing is kept on the way"
        print(f"interrupted: {kept}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno in _ADVICE:
            where, advice = error.filename or "the output directory", _ADVICE[error.errno]
            sys.exit(f"error: {where}: {error.strerror}; nothing half-written was kept, {advice} and run again")
        if error.filename is None:
            raise
        sys.exit(f"error: {error.filename}: {error.strerror}")
