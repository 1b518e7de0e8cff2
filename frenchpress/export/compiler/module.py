"""One Relax module of a network: dense operators first, then a pass that gives each matrix its format; compiled, saved.

`network(features float32 [frames + left + right, dim], states of each layer) -> (logits of each head, states after the
last frame)`; the caller repeats the first and the last frame of an utterance as context. States are h and c, and what
was last sent of the inputs where these are held back (delta networks). `about() -> uint8 [bytes]`
is what a program must know of the library, as JSON.
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
from frenchpress.export.compiler.formats import KINDS, TAKES, Array, Choice, Stored, choose, padded
from frenchpress.export.compiler.network import Head, Layer, Network, Rounding
from frenchpress.export.compiler.operators import GpuLoops, Loops
from frenchpress.packed.model import GATES

Emit = Callable[[Stored], PrimFunc]
Operator = tuple[Emit, tuple[str, ...]]
"""What makes the function for a stored matrix, and the kinds of format that it takes."""
_PREFIX = "frenchpress."
MAGIC = "frenchpress.network"


class _Builder:
    """Collects the calls of the network; `emits` has, for each operator with a matrix, its function for a format."""

    def __init__(self, network: Network, loops: Loops) -> None:
        self.network, self.loops, self.emits = network, loops, {}
        self.block, self.types = relax.BlockBuilder(), network.dtype
        self.given = Var("m", "int64")
        self.frames = self.given - sum(network.context)

    def type(self, *shape: object, dtype: str | None = None) -> relax.TensorType:
        """Of a tensor."""
        return relax.TensorType(shape, dtype or self.types)

    def call(
        self, name: str, emitted: PrimFunc, inputs: Sequence[relax.Expr], constants: Sequence[Array], width: int
    ) -> relax.Var:
        """A function without a matrix: its output [frames, width]."""
        known = self.block.add_func(emitted, name)
        arguments = [*inputs, *map(relax.const, constants)]
        return self.block.emit(relax.call_tir(known, arguments, self.type(self.frames, width)), name)

    def matrix(
        self,
        name: str,
        emit: partial[PrimFunc],
        inputs: Sequence[relax.Expr],
        weights: Array,
        out: list[relax.TensorType],
    ) -> relax.Var:
        """An operator on a matrix, as yet without a format: its last argument is the dense one."""
        self.emits[_PREFIX + name] = emit, TAKES[emit.func.__name__]
        arguments = [*inputs, relax.const(weights)]
        return self.block.emit(relax.call_dps_packed(_PREFIX + name, arguments, out), name.replace(".", "_"))

    def rounded(self, name: str, x: relax.Var, to: Rounding, columns: int) -> relax.Var:
        """`x` on the grid of a layer."""
        if to is None:
            return x
        function = operators.rounding(self.loops, to, columns, self.types)
        return self.call(f"{name}_round", function, [x], (), columns)

    def product(self, name: str, x: relax.Var, weights: Array) -> relax.Var:
        """Sums [frames, gates * padded rows]."""
        gates, rows, _ = weights.shape
        out = [self.type(self.frames, gates * padded(rows))]
        return self.matrix(name, partial(operators.product, self.loops, dtype=self.types), [x], weights, out)

    def held(self, x: relax.Var, layer: Layer, sent: relax.Var) -> list[relax.Expr]:
        """Inputs as they are seen, and what was last sent."""
        columns = layer.input.shape[2]
        known = self.block.add_func(operators.holding(self.loops, layer.hold, columns), f"{layer.name}_hold")
        types = [self.type(self.frames, columns), self.type(columns)]
        both = self.block.emit(relax.call_tir(known, [x, sent], types))
        return [self.block.emit(relax.TupleGetItem(both, i)) for i in range(2)]

    def layer(self, x: relax.Var, layer: Layer, states: Sequence[relax.Var]) -> list[relax.Expr]:
        """Outputs [frames, cells], then the states after."""
        cells, columns = layer.recurrent.shape[1], layer.input.shape[2]
        h, c, *sent = states
        x = self.rounded(layer.name, x, layer.rounding, columns)
        if sent:
            x, *sent = self.held(x, layer, *sent)
        along = self.product(f"{layer.name}.input", x, layer.input)
        inputs = [along, h, c, *map(relax.const, layer.cell.constants)]
        out = [self.type(*shape) for shape in ((self.frames, cells), (cells,), (cells,), (GATES * padded(cells),))]
        emit = partial(operators.recurrence, self.loops, cell=layer.cell)
        all_ = self.matrix(f"{layer.name}.recurrent", emit, inputs, layer.recurrent, out)
        return [*(self.block.emit(relax.TupleGetItem(all_, i)) for i in range(3)), *sent]

    def head(self, x: relax.Var, head: Head) -> relax.Var:
        """Logits [frames, outputs]."""
        _, outputs, columns = head.weights.shape
        sums = self.product(head.name, self.rounded(head.name, x, head.rounding, columns), head.weights)
        function = operators.logits(self.loops, head.finish, outputs)
        return self.call(f"{head.name}_logits", function, [sums], head.finish.constants, outputs)

    def module(self) -> tvm.IRModule:
        """All of it."""
        net, context = self.network, sum(self.network.context)
        features = relax.Var("features", self.type(self.given, net.dim, dtype="float32"))
        states = [
            [relax.Var(f"{layer.name}_{key}", self.type(count)) for key, count in layer.states.items()]
            for layer in net.layers
        ]
        with self.block.function("network", [features, *(var for of_layer in states for var in of_layer)]):
            with self.block.dataflow():
                function = operators.splice(self.loops, net.input, net.dim, context)
                x = self.call("splice", function, [features], net.input.constants, (context + 1) * net.dim)
                last = []
                for layer, before in zip(net.layers, states):
                    x, *after = self.layer(x, layer, before)
                    last += after
                out = self.block.emit_output(relax.Tuple([*(self.head(x, head) for head in net.heads), *last]))
            self.block.emit_func_output(out)
        about = np.frombuffer(json.dumps(_about(net)).encode(), np.uint8)
        with self.block.function("about", []):
            self.block.emit_func_output(relax.const(about.copy()))
        return self.block.get()


def _about(network: Network) -> dict[str, object]:
    outputs = {head.name: head.weights.shape[1] for head in network.heads}
    states = [count for layer in network.layers for count in layer.states.values()]
    left, right = network.context
    return {
        "magic": MAGIC, "tvm": tvm.__version__, "dim": network.dim, "left": left, "right": right, "states": states,
        "outputs": outputs, "dtype": network.dtype,
    }  # fmt: skip


@relax.expr_functor.mutator
class _Formats(relax.PyExprMutator):
    """Operators on dense matrices become functions on stored ones."""

    def __init__(self, module: tvm.IRModule, emits: dict[str, Operator], kinds: Iterable[str]) -> None:
        super().__init__(module)
        self.emits, self.kinds, self.choices = emits, tuple(kinds), []
        self.refused: UserError | None = None

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        """A call with a matrix is replaced."""
        name = getattr(call.args[0], "global_symbol", None) if call.args else None
        if name not in self.emits:
            return super().visit_call_(call)
        *inputs, weights = call.args[1].fields
        short, (emit, takes) = str(name).removeprefix(_PREFIX), self.emits[name]
        try:
            choice = choose(weights.value.numpy(), short, [kind for kind in takes if kind in self.kinds])
        except UserError as error:  # comes out of TVM as something else
            self.refused = error
            raise
        self.choices.append(choice)
        function = self.builder_.add_func(emit(choice.stored), short.replace(".", "_"))
        index = map(relax.const, (choice.stored.values, *choice.stored.index))
        out = list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]
        return relax.call_tir(function, [*map(self.visit_expr, inputs), *index], out)


def choose_formats(
    module: tvm.IRModule, emits: dict[str, Operator], kinds: Iterable[str] = KINDS
) -> tuple[tvm.IRModule, list[Choice]]:
    """The pass: the module with every matrix in the format of least cost among `kinds`, and what was chosen."""
    formats = _Formats(module, emits, kinds)
    try:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                formats.builder_.update_func(name, formats.visit_expr(function))
    except RuntimeError as error:
        raise formats.refused or error from None
    return formats.builder_.get(), formats.choices


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
                raise UserError(f"{path}: cannot be linked, is there a C++ compiler? ({_first(error)})") from None


def _first(error: Exception) -> str:
    """The line of an error that says what is wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def host_target() -> tvm.target.Target:
    """LLVM for the processor that this runs on."""
    return tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})


def compile_network(
    network: Network, kinds: Iterable[str] = KINDS, target: tvm.target.Target | None = None
) -> Compiled:
    """Compile for a target (default: this processor); UserError where no format among `kinds` takes a matrix."""
    target = target or host_target()
    builder = _Builder(network, GpuLoops() if target.kind.name == "cuda" else Loops())
    dense = builder.module()
    module, choices = choose_formats(dense, builder.emits, kinds)
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
        return {name: tensor.numpy() for name, tensor in zip(heads, out)}, out[len(heads) :]

    def logits(self, features: NDArray[np.float32]) -> dict[str, Array]:
        """Of an utterance, float32 [frames, dim]; [frames, outputs] of each head, as packed.Runtime.logits."""
        self._check(features, 0)
        given = np.pad(features, ((self.about["left"], self.about["right"]), (0, 0)), mode="edge")
        return self.step(given, self.start())[0]

    def _check(self, features: NDArray[np.float32] | tvm.runtime.Tensor, context: int) -> None:
        dim, shape = self.about["dim"], list(features.shape)
        if len(shape) != 2 or shape[1] != dim or shape[0] <= context:
            frames = f"{context} + frames" if context else "frames"
            raise UserError(f"{self._name}: features of shape {shape}, expected [{frames}, {dim}], at least one frame")
