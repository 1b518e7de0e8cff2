"""What the differentiable functions need of the form in which a masked matrix is computed with."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Layout(Protocol):
    """Where the kept weights of a matrix lie; `values` are the weights themselves, in the order that the form has.

    Tensors are float32, [frames][features][8 sequences], and are written to where a name says `into`.
    """

    outputs: int

    def apply(self, values: Tensor, x: Tensor, into: Tensor) -> None:
        """`into` [n, outputs, 8] = W x, `x` [n, inputs, 8]."""

    def apply_transposed(self, values: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into` [n, inputs, 8] = W' dy, `dy` [n, outputs, 8]."""

    def gradient(self, x: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into`, of the shape of `values`: sum over n of dy x', at kept places."""

    def lstm_forward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_forward` with W as the recurrent matrix."""

    def lstm_backward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_backward` with W as the recurrent matrix."""
