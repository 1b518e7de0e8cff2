"""What the page shows of a single experiment, read from its directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, read_yaml
from frenchpress.report.diagnose.curves import read_history
from frenchpress.report.diagnose.errors import confusion_table
from frenchpress.score.paired import Aligned

CURVES = {
    "dev_frame_error_cd": "frame error on dev, tied states",
    "dev_frame_error_mono": "frame error on dev, phones",
    "dev_loss": "loss on dev, both heads",
    "loss_cd": "training loss, tied states",
    "loss_mono": "training loss, phones",
    "lr_lstm": "learning rate of the LSTM",
    "density": "density",
    "seconds": "seconds per epoch",
}
"""What an epoch of metrics.jsonl has, and how the page calls it."""
FILES = (
    "PER",
    "WER",
    "train.log",
    "config.yaml",
    "size.yaml",
    "train.yaml",
    "diagnose.md",
    "decode_dev/per_phone",
    "decode_dev/per_word",
    "decode_dev/per_speaker",
    "decode_test/per_phone",
    "decode_test/per_word",
    "decode_test/per_speaker",
)
"""Those of an experiment that a person reads."""
_MATRIX = ("name", "density", "asked_density", "weight_bits", "value_bits", "index_bits", "index_code", "scale_bits")
_SET = "decode_dev"


def details(place: Path) -> tuple[dict[str, Any], list[str]]:
    """What there is of curves, matrices, confusions and files, and a line for each file that is damaged."""
    found, problems = {}, []
    readers: dict[str, Callable[[Path], Any]] = {
        "curves": curves,
        "matrices": matrices,
        "confusions": confusions,
        "files": lambda place: [name for name in FILES if (place / name).is_file()],
    }
    for key, read in readers.items():
        try:
            found[key] = read(place)
        except UserError as error:
            problems.append(str(error))
    return found, problems


def curves(place: Path) -> dict[str, list[float | None]]:
    """Numbers of each epoch, by what they are of; None in an epoch that has not said it."""
    history = read_history(place)
    there = [key for key in CURVES if any(key in entry for entry in history)]
    return {key: [entry.get(key) for entry in history] for key in there}


def matrices(place: Path) -> list[dict[str, Any]]:
    """Density, bits and what they take up, of each matrix; then bits of all that is no matrix, as `other`."""
    path = place / "size.yaml"
    if not path.is_file():
        return []
    sizes = read_yaml(path)
    found = sizes.get("matrices") or []
    if not isinstance(found, list) or not all(isinstance(matrix, dict) for matrix in found):
        raise UserError(f"{path}: matrices: expected a list of what is said of each; train again (stage 4)")
    rows = [{key: matrix.get(key) for key in _MATRIX} for matrix in found]
    return [*rows, {"name": "other", "value_bits": 8 * sizes.get("other_bytes", 0)}]


def confusions(place: Path) -> dict[str, Any] | None:
    """Phones, and how often one (row) was recognised as another (column) on dev.

    None where that is not known, and for words, which are too many for a matrix.
    """
    if not (place / _SET / "per_utt").is_file() or (place / _SET / "per_word").is_file():
        return None
    rows = Aligned.load(place / _SET).rows.values()
    names, table = confusion_table(
        (None if op == "I" else said, None if op in "DO" else heard)
        for ref, hyp, ops in rows
        for said, heard, op in zip(ref, hyp, ops)
    )
    return {"names": names, "table": table.tolist()}
