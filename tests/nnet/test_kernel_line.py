"""The line of the log that says what computes the LSTM layers."""

import torch

from frenchpress.config.press import LayerPress
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.nnet import kernel_line as module
from frenchpress.nnet.lstm import QuantLSTMLayer


def layers():
    """One that kernels can round, and one that they cannot."""
    return torch.nn.ModuleDict({"lstm0": QuantLSTMLayer(4, 4), "lstm1": QuantLSTMLayer(4, 4, LayerPress(8, 24))})


def test_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(module, "why_not", lambda device: None)
    line = module.kernel_line(layers(), torch.device("cuda"))
    assert line == "LSTM layers on Some GPU: lstm0 by GPU kernels; lstm1 by torch"
    monkeypatch.setattr(module, "why_not", lambda device: "none is there")
    line = module.kernel_line(layers(), torch.device("cuda"))
    assert line == "LSTM layers on Some GPU, by torch alone; GPU kernels are not used: none is there"


def test_on_the_cpu(monkeypatch):
    for built in (module, native_lstm):
        monkeypatch.setattr(built, "library", lambda: object())
    line = module.kernel_line(layers(), torch.device("cpu"))
    assert line == f"LSTM layers: lstm0 by compiled kernels; lstm1 by torch; {torch.get_num_threads()} threads"
    monkeypatch.setattr(module, "library", lambda: None)
    assert "torch alone" in module.kernel_line(layers(), torch.device("cpu"))
