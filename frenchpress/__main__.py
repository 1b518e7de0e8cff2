"""One way in: `frenchpress NAME ...`, or `python -m frenchpress NAME ...`; without a name, the list of names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from frenchpress.arguments import check_early
from frenchpress.commands import COMMANDS, listing
from frenchpress.common import UserError, nearest, run_main


def main() -> None:
    """Run the command that the first argument names, with the others as its own."""
    called, *arguments = sys.argv
    called = Path(called).name
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(listing(called))
        return
    name = arguments[0]
    if name not in COMMANDS:
        raise UserError(f"{called}: no command {name!r}{nearest(name, COMMANDS, 'the commands are')}")
    sys.argv = [f"{called} {name}", *arguments[1:]]
    check_early(name)
    importlib.import_module(COMMANDS[name]).main()


def installed() -> None:
    """The command `frenchpress` that pip installs."""
    run_main(main)


if __name__ == "__main__":
    run_main(main)
