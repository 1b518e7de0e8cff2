"""One Relax module of a network: dense operators first, then a pass that gives each matrix its format; compiled, saved.

`network(features float32 [frames + left + right, dim], states of each layer) -> (logits of each head, states after the
last frame)`; the caller repeats the first and the last frame of an utterance as context (where `left` is below 0, it
leaves out so many frames at the start). States are h and c; where inputs of a product are held back (delta networks),
what was last sent of them, and the sums of the product. `about() -> uint8 [bytes]` is what a program must know of the
library, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.tirx import PrimFunc, Var

from frenchpress.common import UserError, atomic_path
from frenchpress.export.compiler import operators
from frenchpress.export.compiler.formats import KINDS, MOVED, WHOLE, Array, Choice, Stored, choose, padded
from frenchpress.export.compiler.moved import find_moved, moved_product, moved_recurrence
from frenchpress.export.compiler.network import Head, Layer, Network, Rounding
from frenchpress.export.compiler.operators import GpuLoops, Loops
from frenchpress.packed.model import GATES

Emit = Callable[[Stored], PrimFunc]
"""What makes the function for a stored matrix."""
_PREFIX = "frenchpress."
MAGIC = "frenchpress.network"


@dataclass(frozen=True)
class Operator:
    """An operator on a matrix, with all columns and, where its inputs say what moved, with these columns alone.

    `extra`: how many of its inputs, the last ones, only the second takes.
    """

    whole: Emit
    by_list: Emit | None = None
    extra: int = 0

    @property
    def takes(self) -> tuple[str, ...]:
        """Kinds of format."""
        return KINDS if self.by_list else WHOLE


class _Builder:
    """Collects the calls of the network; `emits` has, for each operator with a matrix, its function for a format."""

    def __init__(self, network: Network, loops: Loops) -> None:
        self.network, self.loops, self.emits = network, loops, {}
        self.block, self.types = relax.BlockBuilder(), network.dtype
        self.given = Var("m", "int64")
        self.frames = self.given - (network.offsets[-1] - network.offsets[0])

    def type(self, *shape: object, dtype: str | None = None) -> relax.TensorType:
        """Of a tensor."""
        return relax.TensorType(shape, dtype or self.types)

    def call(
        self, name: str, emitted: PrimFunc, inputs: Sequence[relax.Expr], out: relax.TensorType, *more: relax.TensorType
    ) -> list[relax.Var]:
        """A function without a format to choose: its outputs."""
        known = self.block.add_func(emitted, name)
        return self.apart(relax.call_tir(known, inputs, [out, *more]), name, 1 + len(more))

    def apart(self, call: relax.Call, name: str, outputs: int) -> list[relax.Var]:
        """Outputs of a call, one by one."""
        found = self.block.emit(call, name)
        return [found] if outputs == 1 else [self.block.emit(relax.TupleGetItem(found, i)) for i in range(outputs)]

    def matrix(
        self,
        name: str,
        operator: Operator,
        inputs: Sequence[relax.Expr],
        weights: Array,
        out: list[relax.TensorType],
    ) -> list[relax.Var]:
        """An operator on a matrix, as yet without a format: its last argument is the dense one."""
        self.emits[_PREFIX + name] = operator
        arguments = [*inputs, relax.const(weights)]
        return self.apart(relax.call_dps_packed(_PREFIX + name, arguments, out), name.replace(".", "_"), len(out))

    def rounded(self, name: str, x: relax.Var, to: Rounding, columns: int) -> relax.Var:
        """`x` on the grid of a layer."""
        if to is None:
            return x
        function = operators.rounding(self.loops, to, columns, self.types)
        return self.call(f"{name}_round", function, [x], self.type(self.frames, columns))[0]

    def product(
        self, name: str, x: relax.Var, weights: Array, states: Sequence[relax.Var] = (), hold: int = 0
    ) -> list[relax.Var]:
        """Sums [frames, gates * padded rows] over `x`, of which moves up to `hold` are not seen.

        With `states` (what was last sent of the inputs, and the sums for it) these follow, after the last frame.
        """
        gates, rows, columns = weights.shape
        whole, type_ = partial(operators.product, self.loops, dtype=self.types), self.type
        out = [type_(self.frames, gates * padded(rows))]
        if not states:
            return self.matrix(name, Operator(whole), [x], weights, out)
        sent, sums = states
        all_, one, short = type_(self.frames, columns), type_(columns), name.replace(".", "_")
        seen, now = self.call(f"{short}_hold", operators.holding(self.loops, hold, columns), [x, sent], all_, one)
        lists = all_, all_, type_(self.frames)
        moved = self.call(f"{short}_moved", find_moved(self.loops, columns), [seen, sent], *lists)
        by_list = partial(moved_product, self.loops) if self.loops.by_list else None
        operator = Operator(whole, by_list, 1 + len(moved))
        found = self.matrix(name, operator, [seen, *moved, sums], weights, out)
        last = operators.last(self.loops, gates * padded(rows), self.types)
        return [*found, now, *self.call(f"{short}_last", last, found, type_(gates * padded(rows)))]

    def layer(self, x: relax.Var, layer: Layer, states: Sequence[relax.Var]) -> list[relax.Var]:
        """Outputs [frames, cells], then the states after."""
        cells, columns = layer.recurrent.shape[1], layer.input.shape[2]
        (h, c, *more), (inputs_still, outputs_still) = states, layer.still
        kept, back = more[:2] if inputs_still else [], more[-1:] if outputs_still else []
        x = self.rounded(layer.name, x, layer.rounding, columns)
        along, *kept = self.product(f"{layer.name}.input", x, layer.input, kept, layer.hold)
        out = [self.type(*shape) for shape in ((self.frames, cells), (cells,), (cells,), (GATES * padded(cells),))]
        whole = partial(operators.recurrence, self.loops, cell=layer.cell)
        by_list = partial(moved_recurrence, self.loops, cell=layer.cell) if back and self.loops.by_list else None
        operator = Operator(whole, by_list, len(back))
        inputs = [along, h, c, *map(relax.const, layer.cell.constants), *back]
        x, h, c, sums = self.matrix(f"{layer.name}.recurrent", operator, inputs, layer.recurrent, out)
        return [x, h, c, *kept, *([sums] if back else [])]

    def head(self, x: relax.Var, head: Head, states: Sequence[relax.Var]) -> list[relax.Var]:
        """Logits [frames, outputs], then the states after."""
        _, outputs, columns = head.weights.shape
        x = self.rounded(head.name, x, head.rounding, columns)
        sums, *kept = self.product(head.name, x, head.weights, states)
        function = operators.logits(self.loops, head.finish, outputs)
        inputs = [sums, *map(relax.const, head.finish.constants)]
        return [*self.call(f"{head.name}_logits", function, inputs, self.type(self.frames, outputs)), *kept]

    def module(self) -> tvm.IRModule:
        """All of it."""
        net = self.network
        features = relax.Var("features", self.type(self.given, net.dim, dtype="float32"))
        parts = [*net.layers, *net.heads]
        states = [
            [relax.Var(f"{part.name}_{key}", self.type(count)) for key, count in part.states.items()] for part in parts
        ]
        with self.block.function("network", [features, *(var for of_part in states for var in of_part)]):
            with self.block.dataflow():
                function = operators.splice(self.loops, net.input, net.dim, net.offsets)
                inputs = [features, *map(relax.const, net.input.constants)]
                (x,) = self.call("splice", function, inputs, self.type(self.frames, len(net.offsets) * net.dim))
                logits, after = [], []
                for part, before in zip(parts, states):
                    if isinstance(part, Layer):
                        x, *last = self.layer(x, part, before)
                    else:
                        out, *last = self.head(x, part, before)
                        logits.append(out)
                    after += last
                out = self.block.emit_output(relax.Tuple([*logits, *after]))
            self.block.emit_func_output(out)
        about = np.frombuffer(json.dumps(_about(net)).encode(), np.uint8)
        with self.block.function("about", []):
            self.block.emit_func_output(relax.const(about.copy()))
        return self.block.get()


def _about(network: Network) -> dict[str, object]:
    outputs = {head.name: head.weights.shape[1] for head in network.heads}
    states = [count for part in (*network.layers, *network.heads) for count in part.states.values()]
    left, right = -network.offsets[0], network.offsets[-1]
    return {
        "magic": MAGIC, "tvm": tvm.__version__, "dim": network.dim, "left": left, "right": right, "states": states,
        "outputs": outputs, "dtype": network.dtype,
    }  # fmt: skip


@relax.expr_functor.mutator
class _Formats(relax.PyExprMutator):
    """Operators on dense matrices become functions on stored ones."""

    def __init__(
        self, module: tvm.IRModule, emits: dict[str, Operator], kinds: Iterable[str], moved: float, wide: bool
    ) -> None:  # fmt: skip
        super().__init__(module)
        self.emits, self.kinds, self.moved, self.wide, self.choices = emits, tuple(kinds), moved, wide, []
        self.refused: UserError | None = None

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        """A call with a matrix is replaced."""
        name = getattr(call.args[0], "global_symbol", None) if call.args else None
        if name not in self.emits:
            return super().visit_call_(call)
        *inputs, weights = call.args[1].fields
        short, operator = str(name).removeprefix(_PREFIX), self.emits[name]
        try:
            kinds = [kind for kind in operator.takes if kind in self.kinds]
            choice = choose(weights.value.numpy(), short, kinds, self.moved, self.wide)
        except UserError as error:  # comes out of TVM as something else
            self.refused = error
            raise
        self.choices.append(choice)
        if choice.stored.form.kind == "columns":
            emit = operator.by_list
        else:
            emit, inputs = operator.whole, inputs[: len(inputs) - operator.extra]
        function = self.builder_.add_func(emit(choice.stored), short.replace(".", "_"))
        index = map(relax.const, (choice.stored.values, *choice.stored.index))
        out = list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]
        return relax.call_tir(function, [*map(self.visit_expr, inputs), *index], out)


def choose_formats(
    module: tvm.IRModule,
    emits: dict[str, Operator],
    kinds: Iterable[str] = KINDS,
    moved: float = MOVED,
    wide: bool = False,
) -> tuple[tvm.IRModule, list[Choice]]:
    """The pass: the module with every matrix in the format of least cost among `kinds`, and what was chosen.

    `moved`: share of columns that move in a frame where inputs are held back. Lists that nothing reads are left out.
    `wide`: see formats.forms.
    """
    formats = _Formats(module, emits, kinds, moved, wide)
    try:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                formats.builder_.update_func(name, formats.visit_expr(function))
    except RuntimeError as error:
        raise formats.refused or error from None
    used = relax.transform.DeadCodeElimination(["network", "about"])
    return used(formats.builder_.get()), formats.choices


@contextmanager
def _without_scopes() -> Iterator[None]:
    """TVM 0.27 warns of every constant that it saves or loads, and no setting stops it; what else comes is written."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        before = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if b"Warning: Scope " not in line))


@dataclass(frozen=True)
class Compiled:
    """A compiled network, and what was chosen for its matrices."""

    executable: tvm.runtime.Executable
    choices: list[Choice] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """As a shared library; UserError where the C++ compiler that links it is missing or fails."""
        with atomic_path(path) as temporary:
            try:
                with _without_scopes():
                    self.executable.export_library(str(temporary))
            except (RuntimeError, ValueError, OSError) as error:
                raise UserError(
                    f"{path}: cannot be linked; is there a C++ compiler, and room? ({_first(error)})"
                ) from None


def _first(error: Exception) -> str:
    """The line of an error that says what is wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def host_target() -> tvm.target.Target:
    """LLVM for the processor that this runs on."""
    return tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})


def loops_for(target: tvm.target.Target) -> Loops:
    """How loops run there."""
    if target.kind.name == "cuda":
        return GpuLoops()
    return Loops(target.kind.name == "llvm" and tvm.target.codegen.llvm_cpu_has_features("avx512f", target))


def compile_network(
    network: Network,
    kinds: Iterable[str] = KINDS,
    target: tvm.target.Target | None = None,
    moved: float = MOVED,
) -> Compiled:
    """Compile for a target (default: this processor); UserError where no format among `kinds` takes a matrix.

    `moved`: share of columns that move in a frame, by which formats are chosen where inputs are held back.
    """
    target = target or host_target()
    builder = _Builder(network, loops_for(target))
    dense = builder.module()
    module, choices = choose_formats(dense, builder.emits, kinds, moved, builder.loops.wide)
    return Compiled(tvm.compile(module, target), choices)


def cuda_source(network: Network, arch: str, kinds: Iterable[str] = KINDS) -> str:
    """The kernels of a network for CUDA, e.g. sm_80; UserError where this TVM cannot make them."""
    if tvm.get_global_func("target.build.cuda", allow_missing=True) is None:
        raise UserError("this build of tvm generates no CUDA")
    try:
        target = tvm.target.Target({"kind": "cuda", "arch": arch}, host=host_target())
        compiled = compile_network(network, kinds, target)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"no CUDA for {arch}: {_first(error)}") from None
    (device,) = (part for part in compiled.executable.mod.imports[0].imports if part.kind == "cuda")
    return device.inspect_source()


class Library:
    """A compiled network that runs on this processor. `about`: see the module."""

    def __init__(self, module: tvm.runtime.Module | tvm.runtime.Executable, name: str = "library") -> None:
        """UserError where it holds no network of this version."""
        self._name = name
        try:
            with _without_scopes():  # an executable is saved and loaded first
                self._machine = relax.VirtualMachine(module, tvm.cpu())
            self._network = self._machine["network"]
            self.about = json.loads(self._machine["about"]().numpy().tobytes())
        except (AttributeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name}: no network in it ({_first(error)}); frenchpress to-tvm writes one") from None
        if self.about["tvm"] != tvm.__version__:
            raise UserError(f"{name}: compiled by tvm {self.about['tvm']}, this is {tvm.__version__}; compile it again")

    @classmethod
    def load(cls, path: Path | str) -> Library:
        """From a file."""
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; frenchpress to-tvm writes one")
        try:
            with _without_scopes():
                module = tvm.runtime.load_module(str(path))
            return cls(module, str(path))
        except (RuntimeError, OSError) as error:
            raise UserError(f"{path}: not a library that can be loaded ({_first(error)})") from None

    def start(self) -> list[tvm.runtime.Tensor]:
        """States at the start of an utterance, of each layer."""
        return [tvm.runtime.tensor(np.zeros(count, self.about["dtype"])) for count in self.about["states"]]

    def step(
        self, features: NDArray[np.float32] | tvm.runtime.Tensor, states: Sequence[tvm.runtime.Tensor]
    ) -> tuple[dict[str, Array], list[tvm.runtime.Tensor]]:
        """Frames with their context, [n + left + right, dim] -> logits [n, outputs] of each head, and states after."""
        self._check(features, self.about["left"] + self.about["right"])
        if isinstance(features, np.ndarray):
            features = tvm.runtime.tensor(np.ascontiguousarray(features, np.float32))
        out = [*self._network(features, *states)]
        heads = self.about["outputs"]
        return {name: np.from_dlpack(tensor) for name, tensor in zip(heads, out)}, out[len(heads) :]

    def logits(self, features: NDArray[np.float32]) -> dict[str, Array]:
        """Of an utterance, float32 [frames, dim]; [frames, outputs] of each head, as packed.Runtime.logits."""
        self._check(features, 0)
        count = len(features)
        around = np.arange(-self.about["left"], count + self.about["right"]).clip(0, count - 1)
        return self.step(features[around], self.start())[0]

    def _check(self, features: NDArray[np.float32] | tvm.runtime.Tensor, context: int) -> None:
        dim, shape = self.about["dim"], list(features.shape)
        if len(shape) != 2 or shape[1] != dim or shape[0] <= context:
            frames = f"{context} + frames" if context else "frames"
            raise UserError(f"{self._name}: features of shape {shape}, expected [{frames}, {dim}], at least one frame")
