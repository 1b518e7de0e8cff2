"""What `metrics.jsonl` says of each epoch, in a number for each quantity: for records, and to put runs in an order."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from frenchpress.common import UserError
from frenchpress.report.diagnose.curves import read_history

ERRORS = {"sqnr": "SQNR, dB", "cosine": "cosine", "l1": "relative L1", "kl": "KL, nats"}
"""Key and name of what is measured of tensors that were changed (`frenchpress.compress.errors`)."""

PLACES = {"weights": "", "forward": "forward: ", "backward": "backward: "}
"""Key and name of what was changed: weights by quantization; what stages of a pipeline send on, and send back."""

FRAME_ERROR, SENT_ERROR = "frame_error", "sent_error"
_WEIGHTS = "matrix"  # what the names of weights in the record end with; those of activations do not

Epochs = dict[str, list[float | None]]


def read_epochs(place: Path) -> Epochs:
    """Quantity -> its number after each epoch of the run in `place`, None after an epoch that has none.

    `dev_loss`; `frame_error`, of the tied states of dev, in percent; `sent_error` of `train.traffic`; and for each key
    of PLACES and ERRORS `weights_sqnr` and so on, means over matrices or boundaries. What no epoch has is left out.
    UserError for a damaged file.
    """
    try:
        history = [_figures(entry) for entry in read_history(place)]
    except (TypeError, ValueError, AttributeError):
        raise UserError(f"{place}/metrics.jsonl: no figures of epochs; train again (--restart)") from None
    names = dict.fromkeys(name for figures in history for name, value in figures.items() if value is not None)
    return {name: [figures.get(name) for figures in history] for name in names}


def _figures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    error = entry.get("dev_frame_error_cd")
    found = {
        "dev_loss": entry.get("dev_loss"),
        FRAME_ERROR: None if error is None else 100 * error,
        SENT_ERROR: entry.get(SENT_ERROR),
    }
    for place, errors in _errors(entry):
        for key in ERRORS:
            found[f"{place}_{key}"] = _mean(of.get(key) for of in errors)
    return {name: None if value is None else float(f"{value:.6g}") for name, value in found.items()}


def _errors(entry: Mapping[str, Any]) -> Iterable[tuple[str, list[Mapping[str, float | None]]]]:
    """Each of PLACES, and the errors of its tensors."""
    yield "weights", [of for name, of in entry.get("errors", {}).items() if name.endswith(_WEIGHTS)]
    ways: dict[str, list[Mapping[str, float | None]]] = {"forward": [], "backward": []}
    for name, figures in entry.get("boundaries", {}).items():
        start, end = (int(layer.removeprefix("lstm")) for layer in name.split(" to "))
        ways["forward" if start < end else "backward"].append(figures)
    yield from ways.items()


def _mean(values: Iterable[float | None]) -> float | None:
    """None where one is None, or there are none: of a tensor that was not changed there is no SQNR, it has no end."""
    found = list(values)
    return None if not found or None in found else statistics.fmean(found)
