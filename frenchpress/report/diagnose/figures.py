"""Figures of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchpress.report.diagnose.curves import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves(history: History) -> Callable[[Axes], None]:
    """Training and dev loss over epochs, and dev frame error on an axis of its own."""

    def draw(axes: Axes) -> None:
        epochs = [entry["epoch"] for entry in history]
        axes.plot(epochs, [e["loss_cd"] + e["loss_mono"] for e in history], "o-", label="loss, train")
        axes.plot(epochs, [e["dev_loss"] for e in history], "s-", label="loss, dev")
        axes.set(xlabel="epoch", ylabel="loss per frame, both heads", title="learning curves")
        right = axes.twinx()
        right.plot(epochs, [100 * e["dev_frame_error_cd"] for e in history], "k:", label="frame error, dev")
        right.set_ylabel("dev frame error, tied states (%)")
        lines = [*axes.get_lines(), *right.get_lines()]
        axes.legend(lines, [line.get_label() for line in lines])

    return draw


def priors(mean_posterior: NDArray[np.float64], pdf_counts: NDArray[np.int64]) -> Callable[[Axes], None]:
    """Mean output of each tied state on dev over its prior; on the diagonal where all is well."""

    def draw(axes: Axes) -> None:
        prior = np.maximum(pdf_counts, 0.5) / pdf_counts.sum()
        axes.loglog(prior, np.maximum(mean_posterior, 1e-9), ".", alpha=0.5)
        ends = [prior.min(), prior.max()]
        axes.loglog(ends, ends, "k-", linewidth=0.8)
        axes.set(xlabel="prior: share of training frames", ylabel="mean output on dev", title="tied states")

    return draw


def confusions(names: list[str], table: NDArray[np.int64]) -> Callable[[Axes], None]:
    """Share of each phone (row) that was recognised as another (column)."""

    def draw(axes: Axes) -> None:
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
        axes.set(xlabel="recognised", ylabel="said", title="confusions ('-': nothing)")

    return draw
