"""How a matrix that is mostly zeros lies in memory, and which way takes the least time. numpy alone.

A matrix of `gates` x `rows` is cut into tiles of some rows; a tile is computed as a row of steps, each of one weight
for each of its rows (lanes). Rows of each gate are filled up with zeros to a multiple of ROWS.

    dense    every column is a step
    blocks   a step is a column, or a pair of neighbours, that some row of the tile keeps: block-sparse rows (BSR), and
             hierarchies of blocks down to their finest. A tile has the same rows of all gates where these keep the same
             places
    banks    a step has a weight of any of so many neighbouring columns (WINDOW, or NARROW) for each row: banks, and
             single weights that are well spread
    csr      a tile is one row, a step one weight (compressed sparse rows)
    columns  as dense, of which only the columns that moved are read; for inputs that come with a list of these
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError

Array = NDArray[np.generic]
ROWS = 64
WINDOW = 256
"""Columns that one byte tells apart."""
NARROW = 32
"""Columns that two registers of AVX-512 hold, of which one instruction picks any for each row."""
VECTOR = 16
"""Rows of banks, and cells, at a time: a vector of AVX-512, two of AVX2."""
_MOST_COLUMNS = 65536


@dataclass(frozen=True)
class Form:
    """A format: its `kind`, and tiles of `height` rows of each of `groups` gates (1: of one gate after the other); a
    step takes `columns`, 1 or 2 neighbours, or of each row one of `window`.
    """

    kind: str
    height: int
    groups: int = 1
    columns: int = 1
    window: int = 1

    @property
    def lanes(self) -> int:
        """Rows of a tile."""
        return self.height * self.groups

    def takes(self, columns: int) -> bool:
        """Whether a matrix can have so many columns. What is loaded at once must be there."""
        return columns % self.columns == 0 and (self.window != NARROW or columns >= NARROW)

    def __str__(self) -> str:
        if self.kind == "banks":
            return f"banks of {self.window}"
        pairs = f", {self.columns} columns" if self.columns > 1 else ""
        return f"blocks {self.groups}x{self.height}{pairs}" if self.kind == "blocks" else self.kind


CYCLES = {"dense": (0.2, 0.11), "blocks": (0.7, 0.105), "banks": (1.5, 1.1), "csr": (1.4, 0.0), "columns": (4.0, 0.16)}
"""What a step takes, about: so much, and so much for each lane. From `frenchpress bench --what density`, AVX-512; of
columns so that a quarter of them takes half as long as dense: a whole model took 0.46 (many frames) to 0.65, AVX2."""
_NARROW_CYCLES = 3.2, 0.0
"""The same for banks of NARROW columns."""
_TILE_CYCLES = 10.0
_LIST_CYCLES = 2.0
"""For each column, until it is in the list or not."""
MOVED = 0.25
"""Share of columns that is taken to move in a frame of a delta network, where nothing else is said."""
KINDS = tuple(CYCLES)
WHOLE = tuple(kind for kind in KINDS if kind != "columns")
"""Kinds that can do without a list."""
DENSE = "dense", "columns"
"""Kinds whose every column is a step."""


def forms(gates: int, wide: bool = False) -> list[Form]:
    """All that a matrix of so many gates may take; `wide`: with vectors of 16 numbers, and what only these can do."""
    blocks = [Form("blocks", height) for height in (4, 8, 16)]
    if gates > 1:
        blocks += [Form("blocks", height, gates) for height in (1, 2, 4, 8, 16)]
    banks = [Form("banks", VECTOR, window=WINDOW)]
    if wide:
        # Low tiles do not fill a vector with one column. With vectors of 8 numbers pairs were slower.
        blocks += [replace(form, columns=2) for form in blocks if 2 * form.lanes <= VECTOR]
        banks += [Form("banks", VECTOR, window=NARROW)]
    return [Form("dense", ROWS), *blocks, *banks, Form("csr", 1), Form("columns", ROWS)]


@dataclass(frozen=True)
class Stored:
    """A matrix in its form. `values` [steps, lanes * columns of a step], those of a row side by side; `index`, constant
    tensors that say what the steps are:

    dense, columns: none. blocks, csr: start int32 [tiles + 1], the steps of each tile; column uint16 [steps], the first
    of a step. banks: the same, column being the first of the window, and place uint8 [steps, lanes], counted from it.
    """

    form: Form
    shape: tuple[int, int, int]
    values: Array
    index: tuple[Array, ...]

    @property
    def tiles(self) -> int:
        """Tiles, empty ones included."""
        return self.shape[0] * padded(self.shape[1]) // self.form.lanes

    @property
    def bytes(self) -> int:
        """Of values and index."""
        return self.values.nbytes + sum(array.nbytes for array in self.index)


def padded(rows: int) -> int:
    """Rows of one gate, filled up."""
    return -(-rows // ROWS) * ROWS


class Matrix:
    """Weights [gates, rows, columns], with what the forms need to know of it."""

    def __init__(self, weights: Array, name: str = "matrix") -> None:
        """UserError where no format takes it."""
        if weights.shape[2] > _MOST_COLUMNS:
            raise UserError(f"{name}: {weights.shape[2]} columns; no format takes more than {_MOST_COLUMNS}")
        if not np.isfinite(weights).all():
            raise UserError(f"{name}: weights that are not finite; no format takes them, train the model again")
        self.name, self.shape = name, weights.shape
        self._weights = np.pad(weights, ((0, 0), (0, padded(weights.shape[1]) - weights.shape[1]), (0, 0)))

    @cached_property
    def density(self) -> float:
        """Share of weights that are not zero."""
        return np.count_nonzero(self._weights) / np.prod(self.shape)

    def tiles(self, form: Form) -> Array:
        """[tiles, lanes, columns]; the lanes of one gate follow each other."""
        gates, rows, columns = self._weights.shape
        if form.groups == 1:
            return self._weights.reshape(-1, form.height, columns)
        apart = self._weights.reshape(gates, rows // form.height, form.height, columns)
        return apart.transpose(1, 0, 2, 3).reshape(-1, form.lanes, columns)

    def stored(self, form: Form) -> Stored:
        """In a form."""
        tiles = self.tiles(form)
        if form.kind in DENSE:
            return Stored(form, self.shape, tiles.transpose(0, 2, 1).reshape(-1, form.lanes).copy(), ())
        if form.kind == "banks":
            return Stored(form, self.shape, *_windows(tiles, form.window))
        steps = tiles.reshape(*tiles.shape[:2], -1, form.columns)
        tile, step = np.nonzero((steps != 0).any(axis=(1, 3)))
        values, first = steps[tile, :, step].reshape(len(tile), -1), (step * form.columns).astype(np.uint16)
        return Stored(form, self.shape, values, (_starts(tile, len(tiles)), first))

    def cost(self, form: Form, moved: float = 1.0) -> float:
        """Cycles that a product with one vector takes, about; `moved`: share of columns that are in a list."""
        tiles = self.tiles(form)
        every, lists = len(tiles) * tiles.shape[2], 0.0
        if form.kind == "dense":
            steps: float = every
        elif form.kind == "columns":
            steps, lists = moved * every, _LIST_CYCLES * tiles.shape[2]
        elif form.window == NARROW:
            spread = np.pad(tiles != 0, ((0, 0), (0, 0), (0, -tiles.shape[2] % NARROW)))
            steps = int(spread.reshape(*tiles.shape[:2], -1, NARROW).sum(axis=3).max(axis=1).sum())
        elif form.kind == "banks":
            # Windows can take more where weights are not spread; rows that keep most decide.
            steps = int((tiles != 0).sum(axis=2).max(axis=1).sum())
        else:
            kept = (tiles != 0).any(axis=1)
            steps = int(kept.reshape(len(tiles), -1, form.columns).any(axis=2).sum())
        step, lane = _NARROW_CYCLES if form.window == NARROW else CYCLES[form.kind]
        return steps * (step + lane * form.lanes * form.columns) + len(tiles) * _TILE_CYCLES + lists


def _starts(owner: NDArray[np.int64], owners: int) -> NDArray[np.int32]:
    """First step of each tile (or column), and the end of the last."""
    return np.concatenate([[0], np.bincount(owner, minlength=owners).cumsum()]).astype(np.int32)


def _windows(tiles: Array, window: int) -> tuple[Array, tuple[Array, ...]]:
    """Values and index. A step takes the next weight of each row, if it is within `window` of the leftmost."""
    found: list[tuple[int, Array, int, Array]] = []
    none, lanes = tiles.shape[2], np.arange(tiles.shape[1])
    for number, tile in enumerate(tiles):
        kept = tile != 0
        # Columns of each row in ascending order, then `none`.
        columns = np.sort(np.where(kept, np.arange(none), none), axis=1)[:, : kept.sum(axis=1).max()]
        columns = np.pad(columns, ((0, 0), (0, 1)), constant_values=none)
        at = np.zeros(len(lanes), np.int64)
        while (base := int((following := columns[lanes, at]).min())) < none:
            base = min(base, max(none - window, 0))
            taken = following < min(base + window, none)
            place = np.where(taken, following, base)
            found.append((number, np.where(taken, tile[lanes, place], 0), base, place - base))
            at += taken
    number, values, base, place = zip(*found) if found else ((), (), (), ())
    shape = (-1, len(lanes))
    index = np.array(base, np.uint16), np.array(place, np.uint8).reshape(shape)
    return np.array(values, tiles.dtype).reshape(shape), (_starts(np.array(number, np.int64), len(tiles)), *index)


@dataclass(frozen=True)
class Choice:
    """What was chosen for a matrix, and what each kind would take at best, in cycles, if so many columns `moved`."""

    name: str
    density: float
    stored: Stored
    costs: dict[str, float]
    moved: float

    def __str__(self) -> str:
        share = {"columns": f" if {100 * self.moved:g} % move"}
        costs = ", ".join(f"{kind} {cost:.0f}{share.get(kind, '')}" for kind, cost in self.costs.items())
        return f"{self.name}: density {self.density:.4f} -> {self.stored.form}, {self.stored.bytes} bytes ({costs})"


def choose(
    weights: Array, name: str = "matrix", kinds: Iterable[str] = WHOLE, moved: float = 1.0, wide: bool = False
) -> Choice:  # fmt: skip
    """The form of least cost among `kinds`, for weights [gates, rows, columns] of whose columns a share `moved` moves
    in a frame; `wide`: see forms. UserError where none takes them."""
    matrix, kinds = Matrix(weights, name), tuple(kinds)
    if not kinds:
        raise UserError(f"{name}: its inputs say nothing of columns that moved; give one of {', '.join(WHOLE)} too")
    fit = [form for form in forms(weights.shape[0], wide) if form.kind in kinds and form.takes(weights.shape[2])]
    costs = {form: matrix.cost(form, moved) for form in fit}
    best = min(costs, key=lambda form: costs[form])
    least = {kind: min(cost for form, cost in costs.items() if form.kind == kind) for kind in kinds}
    return Choice(name, matrix.density, matrix.stored(best), least, moved)
