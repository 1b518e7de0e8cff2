"""The graph builder alone: torch.nn.LSTM as one operator per layer, rounding, what does not fit a file."""

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from frenchpress.common import UserError  # noqa: E402
from frenchpress.compress import make_act_quantizer  # noqa: E402
from frenchpress.export import graph as graph_module  # noqa: E402
from frenchpress.export.graph import GraphBuilder, Grid, LstmArrays, add_lstm_stack, add_rounding  # noqa: E402
from frenchpress.export.session import open_session  # noqa: E402


def arrays(lstm, layer):
    parts = (getattr(lstm, f"{key}_l{layer}") for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    w, r, b, c = (part.detach().numpy() for part in parts)
    return LstmArrays(w, r, b + c)


def test_stack_is_torch_lstm_with_its_states():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(5, 6, 2)
    graph = GraphBuilder()
    x = graph.input("x", ("T", 1, 5))
    graph.output(add_lstm_stack(graph, x, {f"l{i}": arrays(lstm, i) for i in range(2)}), ("T", 1, 6))
    model = graph.model("stack")
    assert [node.op_type for node in model.graph.node].count("LSTM") == 2
    session = open_session(model.SerializeToString())
    x, states = torch.randn(7, 1, 5), (torch.randn(2, 1, 6), torch.randn(2, 1, 6))
    with torch.no_grad():
        y, (h, c) = lstm(x, states)
    feed = {"x": x.numpy(), "h0": states[0].numpy(), "c0": states[1].numpy()}
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))
    for name, expected in (("l1_y", y), ("hn", h), ("cn", c)):
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 16])
def test_rounding_is_that_of_the_quantizer(bits):
    quantizer = make_act_quantizer("fixed", bits, 0.7)
    _, scale = quantizer.integers(torch.zeros(1))
    graph = GraphBuilder()
    x = graph.input("x", ("N",))
    graph.output(add_rounding(graph, x, Grid(bits, float(scale)), "y"), ("N",))
    session = open_session(graph.model("rounding").SerializeToString())
    halves = (torch.arange(-9, 10) + 0.5) * scale
    x = torch.cat([torch.linspace(-1, 1, 1001), halves, torch.zeros(1)])
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, quantizer(x).numpy())


def test_refuses_what_no_file_can_hold(monkeypatch):
    monkeypatch.setattr(graph_module, "MOST_BYTES", 100)
    graph = GraphBuilder()
    graph.constant("w", np.zeros(26, np.float32))
    with pytest.raises(UserError, match="big: .* at most 2 GiB"):
        graph.model("big")
