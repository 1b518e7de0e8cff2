"""What commands are called with. `frenchpress NAME` reads it, and looks whether files are there, before it imports the
command: most load torch, which takes seconds.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from frenchpress.commands import COMMANDS
from frenchpress.common import UserError, did_you_mean
from frenchpress.common.typed import read_fraction
from frenchpress.nnet import FINAL

DEFAULT_TASK = Path("exp/task")

_LISTED = 8
_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "KIB": 2**10, "MIB": 2**20}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; --help lists what it takes")


def parse(name: str) -> argparse.Namespace:
    """What `frenchpress NAME` is called with in sys.argv; UserError where that cannot be."""
    described, add = _ARGUMENTS[name]
    shape = argparse.RawDescriptionHelpFormatter
    parser = _Parser(description=described or _described(COMMANDS[name]), formatter_class=shape)
    add(parser)
    return parser.parse_args()


def check_early(name: str) -> None:
    """UserError for what is wrong with how `frenchpress NAME` is called, and for what is to be there and is not."""
    if name not in _ARGUMENTS:
        return
    for what, value in vars(parse(name)).items():
        for path in value if isinstance(value, list) else [value]:
            if path is not None and what in _THERE:
                _THERE[what](path)


def _described(module: str) -> str:
    """The docstring of a module that is not imported."""
    return ast.get_docstring(ast.parse(Path(importlib.util.find_spec(module).origin).read_text("utf-8")))


def _directory(path: Path) -> None:
    if path.is_file():
        above = f"; give {path.parent}" if (path.parent / FINAL).is_file() else ""
        raise UserError(f"{path}: a file, where a directory is expected{above}")
    if not path.is_dir():
        raise UserError(f"{path}: no such directory")


def _there(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file or directory")


def _file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: a directory, where a file is expected")
    if not path.is_file():
        others = sorted(other.name for other in path.parent.glob(f"*{path.suffix or '.cfg'}"))
        raise UserError(f"{path}: no such file{did_you_mean(path.name, others)}")


def _trained(place: Path) -> None:
    _directory(place)
    if not (place / FINAL).is_file():
        below = sorted(str(found.parent) for found in place.glob(f"*/{FINAL}"))
        advice = f"experiments in it are {', '.join(below[:_LISTED])}" if below else "has the model been trained?"
        raise UserError(f"{place / FINAL}: no such file; {advice}")


_THERE: dict[str, Callable[[Path], None]] = {
    "task": _directory,
    "front": _directory,
    "train_set": _directory,
    "experiment": _trained,
    "experiments": _there,
    "place": _directory,
    "config": _file,
    "reference": _file,
    "chip": _file,
    "recipe": _directory,
}
"""Arguments, of whatever command, that are to be there."""


def parse_bytes(text: str) -> int:
    """400000, 400kB, 0.4MB, 390KiB; argparse's error for anything else."""
    found = re.fullmatch(r"([0-9.]+)\s*([a-zA-Z]*)", text)
    try:
        value = int(float(found[1]) * _UNITS[found[2].upper()])
    except (TypeError, KeyError, ValueError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, such as 400kB or 0.4MB")
    return value


def _share(text: str) -> Fraction:
    """A share of weights between 0 and 1, such as 1/4; argparse's error for anything else."""
    try:
        value = read_fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of weights between 0 and 1, such as 1/4")
    return value


def _each(convert: Callable[[str], float]) -> Callable[[str], float]:
    """Of an option that takes several numbers, and would take a path behind them too; argparse's error for that."""

    def read(text: str) -> float:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number; a path stands before it") from None

    return read


def _factor(text: str) -> float:
    """A factor from 0 up, such as 1/2 or 1.5; argparse's error for anything else."""
    try:
        value = read_fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(-1)
    if value < 0:
        problem = f"{text!r} is no factor, such as 1/2 or 1.5; a path stands before it"
        raise argparse.ArgumentTypeError(problem)
    return float(value)


def _number(text: str) -> int:
    """A number from 1 up; argparse's error for anything else."""
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number from 1 up")
    return int(text)


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", type=Path, help="the task that the model was trained on (as its train.yaml says)")


def _add_needed_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", type=Path, required=True, help="directory of features, targets and graph")


def _add_every(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--every", type=_number, default=1, metavar="N", help="only each N-th utterance of dev (1)")


def _add_experiment(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("experiment", type=Path, help=f"exp/x, with a trained model in it{more}")


def _add_searchers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nj", type=_number, default=1, help="processes that search (1)")


def _add_chip(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chip", type=Path, help="description of a chip, chips/x.yaml: what packed models cost on it")


def _add_overrides(parser: argparse.ArgumentParser, of: str = "") -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"{of}e.g. train.epochs=2")


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="recipes/X")
    parser.add_argument("exp", type=Path, help="exp/X")


def _pack(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    parser.add_argument("--front", type=Path, help="GMM system that its features come from, e.g. exp/tri3")
    help_ = "training set with MFCC, e.g. data/train"
    parser.add_argument("--train", dest="train_set", type=Path, metavar="TRAIN", help=help_)
    _add_experiment(parser)


def _decode_packed(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    _add_searchers(parser)
    parser.add_argument("place", type=Path, metavar="experiment", help="exp/x, with model.press in it")


def _recognise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--graph", type=Path, help="directory of HCLG.fst and words.txt (graph/ beside MODEL)")
    parser.add_argument("--lm-weight", type=float, help="of graph against acoustic costs (the one chosen on dev)")
    help_ = "to the speaker: of each utterance as it goes on; of all files, one speaker's, heard twice; or not (none)"
    parser.add_argument("--adapt", choices=("utterance", "files", "none"), help=help_)
    parser.add_argument("--transform", type=Path, help="archive of fMLLR per speaker (exp/tri3/trans_dev): no --adapt")
    parser.add_argument("--speaker", help="whose transform of it to take")
    parser.add_argument("model", type=Path, help="exp/x/model.press, made by frenchpress pack exp/x")
    parser.add_argument("audio", nargs="*", metavar="WAV", help="audio files; - for standard input")


def _picture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where pictures are written (here)")
    parser.add_argument("model", type=Path, help="model.press of frenchpress pack")
    parser.add_argument("audio", nargs="+", type=Path, metavar="WAV", help="audio files")


def _diagnose(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    _add_experiment(parser, "; decoded too for what concerns its errors")


def _sensitivity(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    parser.add_argument("--keep", type=_share, nargs="+", default=[Fraction(3, 5)], help="shares to keep (3/5)")
    _add_every(parser)
    _add_experiment(parser)


def _bits_for_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bytes", type=parse_bytes, required=True, metavar="SIZE", help="of the model: 400kB, 0.4MB")
    parser.add_argument("--by", choices=("loss", "hessian", "sqnr"), default="loss", help="what harm is (loss)")
    parser.add_argument("--bits", type=_each(int), nargs="+", default=[2, 3, 4, 5, 6, 8], help="(2 3 4 5 6 8)")
    parser.add_argument("--quantizer", default="uniform", help="how weights are rounded (uniform)")
    _add_task(parser)
    _add_every(parser)
    parser.add_argument("--out", type=Path, help="the .cfg (bits.cfg in the experiment)")
    _add_experiment(parser)


def _ranks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--energy", type=_each(float), nargs="+", default=[0.5, 0.8, 0.9, 0.95], help="(0.5 ... 0.95)")
    _add_experiment(parser)


def _errors(parser: argparse.ArgumentParser) -> None:
    help_ = "exp/x, trained with train.errors, train.traffic or train.pipeline, and decoded; or its record"
    parser.add_argument("experiments", type=Path, nargs="+", help=help_)


def _movement(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    parser.add_argument("--banks", type=_number, default=8, help="banks that columns are dealt out to (8)")
    help_ = "what is sent, and the loss, with each threshold times such a factor: 1/2 3/2"
    parser.add_argument("--try", dest="factors", type=_factor, nargs="+", default=[], metavar="FACTOR", help=help_)
    parser.add_argument("--every", type=_number, default=1, metavar="N", help="--try: only each N-th utterance of dev")
    _add_experiment(parser)


def _codes(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser)
    parser.add_argument("--out", type=Path, help="directory for codes.md and codes.svg (the experiment's)")


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", choices=("test", "dev"), default="test", help="the set to compare on (test)")
    parser.add_argument("--top", type=_number, default=8, help="speakers and phones or words to show (8)")
    help_ = "exp/x; the first one is what the others are held against"
    parser.add_argument("experiments", type=Path, nargs="+", metavar="exp", help=help_)


def _table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exp", dest="place", type=Path, required=True, metavar="EXP", help="their directory")
    help_ = "YAML `system: [dev PER, test PER]` beside the GMMs; null: not known"
    parser.add_argument("--reference", type=Path, help=help_)
    parser.add_argument("--baseline", help="the experiment that differences count from (the first float one)")
    parser.add_argument("--conf", type=Path, default=Path("conf"), help="where the .cfg files are (conf)")
    _add_chip(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="+", type=Path, help="conf/x.cfg")
    _add_overrides(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", type=Path, help=f"a task, for the next three ({DEFAULT_TASK}, where it exists)")
    parser.add_argument("--feat-dim", type=_number, metavar="N", help="features per frame")
    parser.add_argument("--pdfs", type=_number, metavar="N", help="tied states")
    parser.add_argument("--phones", type=_number, metavar="N", help="phones")
    parser.add_argument("--matrices", action="store_true", help="bits, density and bytes of each matrix too")
    parser.add_argument("--exp", type=Path, help="where models that one starts or learns from are (that of the task)")
    parser.add_argument("--seeds", type=_each(int), nargs="*", default=[], help="seeds to train each with")
    parser.add_argument("--no-parents", action="store_true", help="do not look for such models")
    plan = ".cfg, seed and name of each experiment in order of training, such models first, in place of sizes"
    parser.add_argument("--plan", action="store_true", help=plan)
    parser.add_argument("config", nargs="+", type=Path, help="conf/x.cfg")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="conf/x.cfg")
    _add_needed_task(parser)
    _add_overrides(parser)
    parser.add_argument("--seed", type=int, help="short for --set seed=N")
    parser.add_argument("--restart", action="store_true", help="throw away an earlier run in the directory")
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, help="time between checkpoints (30)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that train together (as the .cfg says)")
    help_ = "seconds that workers wait for each other (600)"
    parser.add_argument("--patience", type=float, default=600.0, help=help_)
    parser.add_argument("out", type=Path, help="exp/x")


def _decode(parser: argparse.ArgumentParser) -> None:
    _add_task(parser)
    _add_searchers(parser)
    parser.add_argument("--config", type=Path, help="conf/x.cfg: decode as it says now (as it was when trained)")
    parser.add_argument("--only-dev", action="store_true", help="leave test alone, for choices between models")
    _add_experiment(parser)


def _shrink(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser, ", with cells removed")
    parser.add_argument("out", type=Path, help="exp/y, which is not there yet")


def _clean(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="remove what is listed")
    parser.add_argument("place", type=Path, metavar="exp", help="directory of experiments, or one of them")


def _study_plan(parser: argparse.ArgumentParser) -> None:
    _add_needed_task(parser)
    parser.add_argument("--seeds", default="", help="'1 2 3' in place of the study's own")
    parser.add_argument("--only", default="", help="experiments, names or patterns, with spaces between")
    parser.add_argument("--results", type=Path, help="where records are kept (the recipe's directory)")
    _add_overrides(parser, "for all, ")
    _add_study(parser)


def _study_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="where they are written (the recipe's directory)")
    _add_chip(parser)
    _add_study(parser)


def _explore(parser: argparse.ArgumentParser) -> None:
    _add_needed_task(parser)
    parser.add_argument("--storage", help="a database of several machines, postgresql+psycopg://... (EXP/explore.db)")
    parser.add_argument("--jobs", type=_number, default=1, help="workers on this machine (1)")
    parser.add_argument("--nj", type=_number, default=1, help="processes that decode side by side, of each worker (1)")
    help_ = "seconds between signs of life of a worker (60)"
    parser.add_argument("--heartbeat", type=_number, default=60, help=help_)
    parser.add_argument("--results", type=Path, help="where RESULTS.md and the record are written (the recipe)")
    _add_study(parser)


def _to_onnx(parser: argparse.ArgumentParser) -> None:
    _add_experiment(parser)
    parser.add_argument("--out", type=Path, help="the file (default: model.onnx in that directory)")


_ARGUMENTS: dict[str, tuple[str | None, Callable[[argparse.ArgumentParser], None]]] = {
    "recognise": (None, _recognise),
    "picture": (None, _picture),
    "pack": (None, _pack),
    "decode-packed": (None, _decode_packed),
    "diagnose": (None, _diagnose),
    "sensitivity": ("Dev loss with fewer weights in one matrix at a time, not retrained.", _sensitivity),
    "bits-for-budget": (None, _bits_for_budget),
    "ranks": ("Rank of each matrix of a trained model for shares of its energy.", _ranks),
    "errors": ("Which error of weights, or of what is sent, foretells the PER.", _errors),
    "movement": ("Say how much of the feature maps of a trained model moves on dev.", _movement),
    "codes": ("Compare all index codes on a trained model.", _codes),
    "compare": (None, _compare),
    "table": ("Write RESULTS.md, results.json and the page of an exp directory.", _table),
    "show": ("Print a .cfg as it will be used.", _show),
    "check": ("Check .cfg files and print the size of each one's model.", _check),
    "train": ("Train an acoustic model; interrupted, the same command goes on.", _train),
    "decode": ("Decode and score dev and test with a trained model.", _decode),
    "shrink": (None, _shrink),
    "clean": (None, _clean),
    "study-plan": ("Check a study, write its configurations, print what is left to run.", _study_plan),
    "study-results": ("Write RESULTS.md, figures, records and the page of a study.", _study_results),
    "explore": (None, _explore),
    "to-onnx": ("Write a trained model as an ONNX file.", _to_onnx),
}
"""Command -> how --help describes it (None: as its module does), and what adds its arguments to a parser."""
