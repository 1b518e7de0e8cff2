"""`python -m frenchpress.config.show conf/x.cfg`: print the configuration as it will be used."""

from __future__ import annotations

from frenchpress.arguments import parse
from frenchpress.common import run_main
from frenchpress.config.load import config_to_yaml, load_config


def main() -> None:
    """Command line."""
    arguments = parse("show")
    for path in arguments.config:
        text = config_to_yaml(load_config(path, arguments.set))
        print(f"# {path}, resolved\n{text}", end="")


if __name__ == "__main__":
    run_main(main)
