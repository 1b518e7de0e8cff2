"""Run a command-line entry so that bad input is one line on stderr and not a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from frenchpress.common.errors import UserError


def run_main(main: Callable[[], None]) -> None:
    """Call `main` and exit: 0 when it returns, 1 with one line on bad input or a full disk, 130 on Ctrl-C.

    Whoever reads the output may stop reading (`| head -1`): that ends the program in silence, with 141 as a shell says
    of a program that this stopped.
    `--help` then calls the program as its users do, `python -m package.module`.
    """
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        sys.argv[0] = f"python -m {spec.name.removesuffix('.__main__')}"
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written goes nowhere, or Python would complain about it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = error.filename or "the output directory"
        advice = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        sys.exit(f"error: {where}: {error.strerror}; nothing half-written was kept, {advice} and run again")
