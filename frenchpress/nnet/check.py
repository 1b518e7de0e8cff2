"""Is a `.cfg` sound, and how large is its model? `python -m frenchpress.nnet.check conf/*.cfg` says so at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import UserError, run_main
from frenchpress.compress.schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import Config, blame_layer, load_config
from frenchpress.nnet.model import AcousticModel, Sizes


def build_model(path: Path | str, config: Config, sizes: Sizes) -> AcousticModel:
    """The untrained model of `config`; UserError, naming place and key or else `path`, where something is amiss."""
    try:
        model = AcousticModel(config, sizes)
        MaskSchedule(model).check(config.train.epochs)
        return model
    except UserError as error:
        raise blame_layer(config, path, str(error)) from None


def check_line(path: Path | str, sizes: Sizes) -> str:
    """One line on the model of a sound `.cfg`, with its masks as they are to be in the end."""
    model = build_model(path, load_config(path), sizes)
    MaskSchedule(model, units=model.units).finish()
    size = size_report(model)
    return (
        f"{path}: {size['kept']} of {size['macs_dense']} weights kept, {size['stored_bytes'] / 1024:.0f} KiB, "
        f"compression {size['compression_ratio']:.1f}x, {size['macs_kept']} multiply-accumulates per frame, "
        f"{sizes.num_pdfs} tied states and {sizes.num_phones} phones"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Check .cfg files and print the size of each one's model.")
    parser.add_argument("--feat-dim", type=int, default=40, help="features per frame (40)")
    parser.add_argument("--pdfs", type=int, default=1000, help="tied states (1000); known once the task is made")
    parser.add_argument("--phones", type=int, default=48, help="phones (48)")
    parser.add_argument("config", nargs="+", type=Path, help="conf/x.cfg")
    arguments = parser.parse_args()
    for option in ("feat_dim", "pdfs", "phones"):
        if getattr(arguments, option) < 1:
            raise UserError(f"--{option.replace('_', '-')} is {getattr(arguments, option)}, expected at least 1")
    sizes = Sizes(arguments.feat_dim, arguments.pdfs, arguments.phones)
    for path in arguments.config:
        print(check_line(path, sizes))


if __name__ == "__main__":
    run_main(main)
