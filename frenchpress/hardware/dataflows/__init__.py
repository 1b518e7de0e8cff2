"""Dataflows by name: how a chip goes through a matrix. One is a frozen dataclass, its options, and a line here."""

from __future__ import annotations

from frenchpress.hardware.dataflows.banks import Banks
from frenchpress.hardware.dataflows.base import Dataflow
from frenchpress.hardware.dataflows.blocks import Blocks
from frenchpress.hardware.dataflows.columns import Columns
from frenchpress.hardware.dataflows.dense import Dense

DATAFLOWS: dict[str, type[Dataflow]] = {"dense": Dense, "blocks": Blocks, "banks": Banks, "columns": Columns}
"""What `dataflow.kind` of a chip may be."""
