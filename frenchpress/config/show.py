"""`python -m frenchpress.config.show conf/x.cfg`: print the configuration as it will be used."""

from __future__ import annotations

import argparse

from frenchpress.common import run_main
from frenchpress.config.load import config_to_yaml, load_config


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Print a .cfg as it will be used.")
    parser.add_argument("config", nargs="+", help="conf/x.cfg")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. train.epochs=2")
    arguments = parser.parse_args()
    for path in arguments.config:
        text = config_to_yaml(load_config(path, arguments.set))
        print(f"# {path}, resolved\n{text}", end="")


if __name__ == "__main__":
    run_main(main)
