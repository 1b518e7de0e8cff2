"""The rows for GPUs, on the CPU: that they run, and that the loop is the layer."""

import argparse
import re

import torch

from frenchpress.bench.gpu import LOOP, TimeStepLoop, gpu_subjects
from frenchpress.bench.layers import PRESSES, pressed_layers
from frenchpress.bench.training import run_gpu_training

SMALL = argparse.Namespace(seed=1, batch=2, steps=3, inputs=40, cells=64, layers=2, repeats=2)


def test_the_loop_over_time_steps_gives_what_the_layers_give():
    layers = pressed_layers(40, 64, 2, PRESSES["w8a16_hcgs16x"], seed=3).double()
    x = torch.randn(3, 5, 40, dtype=torch.float64)
    layers(x)  # sets the range of the inputs
    results = []
    for module in (layers, TimeStepLoop(layers)):
        y = module(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), list(layers.parameters()))))
    for got, wanted in zip(*results):
        torch.testing.assert_close(got, wanted)


def test_prints_ratios_to_cudnn_and_to_the_loop(capsys):
    run_gpu_training(SMALL, torch.device("cpu"), "Some GPU")
    lines = capsys.readouterr().out.splitlines()
    names = [re.match(r"^  (\S.*?)\s+\d+ frames/s +\d+\.\d ms +\d+\.\d\dx +\d+\.\d\dx$", n)[1] for n in lines[2:]]
    assert "3 frames, Some GPU" in lines[1] and lines[1].endswith(f"to torch.nn.LSTM (cuDNN), and to {LOOP})")
    assert names == [s.name for s in gpu_subjects(SMALL, torch.device("cpu"))]
    assert " 1.00x " in lines[2] and lines[-1].endswith(" 1.00x")
    assert names[0].startswith("torch.nn.LSTM") and names[-1] == LOOP and "w8a16_hcgs16x, torch alone" in names
