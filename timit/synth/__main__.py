"""Make a synthetic twin of TIMIT: `python -m timit.synth --out data/synth --size small --nj 2`."""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import UserError, run_main
from timit.synth.corpus import SIZES, build


def main() -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="LDC93S1 tree to write")
    parser.add_argument("--size", choices=[*SIZES], default="small", help="timit: 3696/400/192 utterances")
    parser.add_argument("--nj", type=int, default=1, help="processes side by side")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another corpus")
    options = parser.parse_args()
    if options.nj < 1:
        raise UserError(f"--nj is {options.nj}, expected at least 1")
    if not build(options.out, options.size, options.nj, options.seed):
        print(f"{options.out} is up to date")


if __name__ == "__main__":
    run_main(main)
