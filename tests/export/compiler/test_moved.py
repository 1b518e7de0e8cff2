"""Lists of moved columns that flow through a compiled model: integers of the reference, and when they are chosen."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from packed_models import random_model

tvm = pytest.importorskip("tvm", reason="the compiler is an extra: pip install -e '.[tvm]'")

from frenchpress.common import UserError  # noqa: E402
from frenchpress.export import to_tvm  # noqa: E402
from frenchpress.export.compiler import module, moved  # noqa: E402
from frenchpress.export.compiler.formats import WHOLE, Form, Matrix, choose, padded  # noqa: E402
from frenchpress.export.compiler.module import Library, compile_network  # noqa: E402
from frenchpress.export.compiler.network import of_packed  # noqa: E402
from frenchpress.export.compiler.operators import Loops  # noqa: E402
from frenchpress.packed import reference  # noqa: E402
from frenchpress.packed.write import write_model  # noqa: E402

QUICK = tvm.target.Target({"kind": "llvm", "opt-level": 1})
FRAMES = 19


def drifting(model, frames=FRAMES):
    """Features of which most hardly move, with jumps between."""
    rng, x = np.random.default_rng(5), model.input
    feats = np.cumsum(rng.normal(0, 0.05, (frames, x.dim)), axis=0) + rng.normal(0, 2, x.dim)
    feats[frames // 2 :] += rng.normal(0, 3, x.dim)
    feats = feats.astype(np.float32)
    feats[3, :3] = np.nan, np.inf, -np.inf
    return feats


def in_pieces(library, feats, sizes):
    """Logits of calls of so many frames, the states in the caller's hands."""
    given, states, rows, t = np.pad(feats, ((2, 1), (0, 0)), mode="edge"), library.start(), [], 0
    for size in sizes:
        out, states = library.step(given[t : t + size + 3], states)
        rows.append(out["head_cd"])
        t += size
    return np.concatenate(rows)


def compiled(network, kinds):
    made = compile_network(network, kinds, QUICK)
    assert ("moved" in made.executable.as_text()) == ("columns" in kinds)
    return Library(made.executable), [choice.stored.form.kind for choice in made.choices]


@pytest.fixture(scope="module")
def model():
    return random_model(cells=(16, 12), act_bits=(16, 14, 12), hold=(900, 300))


@pytest.mark.parametrize("few", [3, 8], ids=["lists and whole", "lists alone"])
def test_integers_are_those_of_the_reference(model, few, monkeypatch):
    """Of every product, at once and in pieces, whatever is chosen for a frame."""
    monkeypatch.setattr(moved, "FEW_OF_8", few)
    library, kinds = compiled(of_packed(model), ["columns"])
    assert kinds == ["columns"] * 5
    feats = drifting(model)
    expected = reference.run(model, feats)
    assert np.array_equal(library.logits(feats)["head_cd"], expected)
    for sizes in ([1] * FRAMES, [6, 1, 12], [7, 2, 9, 1]):
        assert np.array_equal(in_pieces(library, feats, sizes), expected), sizes


@pytest.mark.parametrize("hold,kinds", [((900, 0), "cdcdd"), ((0, 300), "dcccc")])
def test_lists_stand_where_something_is_held_back(hold, kinds):
    """At the inputs of a layer that holds them back, and wherever outputs that are held back are read."""
    model = random_model(hold=hold)
    library, found = compiled(of_packed(model), ["columns", "dense"])
    assert "".join(kind[0] for kind in found) == kinds
    feats = drifting(model)
    assert np.array_equal(library.logits(feats)["head_cd"], reference.run(model, feats))


def test_a_threshold_of_0_changes_nothing():
    """Lists of whatever moves, in a model that holds nothing back."""
    model = random_model(cells=(7,))
    network = of_packed(model)
    still = tuple(replace(layer, still=(True, True)) for layer in network.layers)
    heads = tuple(replace(head, still=True) for head in network.heads)
    library, kinds = compiled(replace(network, layers=still, heads=heads), ["columns"])
    feats = drifting(model)
    feats[8:12] = feats[8]
    expected = reference.run(model, feats)
    assert kinds == ["columns"] * 3 and np.array_equal(library.logits(feats)["head_cd"], expected)
    assert np.array_equal(in_pieces(library, feats, [5, 1, 13]), expected)


def test_other_formats_have_no_lists(model):
    """Where all is said to move: the same states, no list that nobody reads, and the same integers."""
    made = compile_network(of_packed(model), target=QUICK, moved=1.0)
    assert "columns" not in {choice.stored.form.kind for choice in made.choices}
    assert "hold" in made.executable.as_text() and "moved" not in made.executable.as_text()
    feats = drifting(model)
    assert np.array_equal(in_pieces(Library(made.executable), feats, [4, 1, 14]), reference.run(model, feats))


def test_only_what_moved_is_read():
    """Weights of other columns do not matter, as long as few enough moved."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-9, 9, (4, 10, 30)).astype(np.int8)
    poisoned = weights.copy()
    poisoned[..., [3, 17]] = 99
    stored = [Matrix(w).stored(Form("columns", 64)) for w in (weights, poisoned)]
    functions = {"find": moved.find_moved(Loops(), 30), "product": moved.moved_product(Loops(), stored[0])}
    build = tvm.compile(
        tvm.IRModule({name: f.with_attr("global_symbol", name) for name, f in functions.items()}), QUICK
    )
    before = rng.integers(-99, 99, 30).astype(np.int32)
    x = np.tile(before, (6, 1))
    x[1:, :3] += 5
    x[4:, 28] -= 7
    x[:, [3, 17]] = before[[3, 17]]
    lists = [tvm.runtime.tensor(np.zeros(shape, np.int32)) for shape in ((6, 30), (6, 30), 6)]
    build["find"](tvm.runtime.tensor(x), tvm.runtime.tensor(before), *lists)
    where, change, count = (t.numpy() for t in lists)
    assert count.tolist() == [0, 3, 0, 0, 1, 0]
    assert where[1, :3].tolist() == [0, 1, 2] and change[1, :3].tolist() == [5] * 3
    assert (where[4, 0], change[4, 0]) == (28, -7)
    sums = np.zeros((4, padded(10)), np.int32)
    sums[:, :10] = weights.astype(int) @ before
    out = tvm.runtime.tensor(np.zeros((6, 4 * padded(10)), np.int32))
    constants = tvm.runtime.tensor(stored[1].values)
    build["product"](tvm.runtime.tensor(x), *lists, tvm.runtime.tensor(sums.reshape(-1)), constants, out)
    assert np.array_equal(out.numpy().reshape(6, 4, -1)[..., :10], np.einsum("grc,tc->tgr", weights.astype(int), x))


def test_the_choice_goes_by_how_much_moves():
    """Dense: a list at a quarter, all columns where all move. Blocks at 1/16: a list where next to nothing moves."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 9, (4, 128, 512)).astype(np.int8)
    blocks = dense * np.kron(rng.random((64, 256)) < 1 / 16, np.ones((2, 2))).astype(np.int8)
    kinds = [*WHOLE, "columns"]
    assert choose(dense, "dense", kinds, 0.25).stored.form.kind == "columns"
    assert choose(dense, "dense", kinds, 1.0).stored.form.kind == "dense"
    assert choose(blocks, "blocks", kinds, 0.25).stored.form.kind == "blocks"
    assert choose(blocks, "blocks", kinds, 0.01).stored.form.kind == "columns"
    assert str(choose(dense, "dense", kinds, 0.25)).endswith(" if 25 % move)")


def test_lists_alone_are_refused_where_nothing_is_held_back():
    with pytest.raises(UserError, match=r"lstm0.input: its inputs say nothing of columns that moved; give one"):
        compile_network(of_packed(random_model()), ["columns"], QUICK)


def test_the_command_is_told_how_much_moves(model, tmp_path, monkeypatch):
    told = {}

    def stop(*_, moved):
        told["moved"] = moved
        raise UserError("enough")

    monkeypatch.setattr(module, "compile_network", stop)
    write_model(tmp_path / "model.press", model)
    for share, message in (("2", "--moved 2: a share of columns, from 0 to 1"), ("0.4", "enough")):
        monkeypatch.setattr(sys, "argv", ["to_tvm", str(tmp_path / "model.press"), "--moved", share])
        with pytest.raises(UserError, match=message):
            to_tvm.main()
    assert told == {"moved": 0.4}
