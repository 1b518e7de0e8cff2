"""Errors of quantized tensors, by hand; of weights with a mask; of activations while a model runs."""

import math

import pytest
import torch

import frenchpress.compress as fp
from frenchpress.compress.errors import ErrorSums, activation_errors, tensor_errors, weight_errors


def test_by_hand():
    found = tensor_errors(torch.tensor([3.0, -4.0, 0.0]), torch.tensor([3.0, -3.0, 9.0]))
    assert found["sqnr"] == pytest.approx(10 * math.log10(25))
    assert found["cosine"] == pytest.approx((9 + 12) / (5 * math.sqrt(18))) and found["l1"] == pytest.approx(1 / 7)
    # 256 bins with one more each: x lies in the last and the first, q in the last and in another one.
    p, r = [2 / 258, 1 / 258], [1 / 258, 2 / 258]
    assert found["kl"] == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, r)))


def test_nothing_changed_and_nothing_there():
    x = torch.randn(50)
    assert tensor_errors(x, x) == {"sqnr": None, "cosine": pytest.approx(1), "l1": 0, "kl": 0}
    assert tensor_errors(torch.zeros(3), torch.ones(3)) == {"sqnr": None, "cosine": 1, "l1": 0, "kl": 0}


def test_more_bits_are_less_error():
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    found = [tensor_errors(x, fp.make_quantizer("uniform", bits)(x)) for bits in (3, 4, 6, 8)]
    for key, sign in (("sqnr", 1), ("cosine", 1), ("l1", -1), ("kl", -1)):
        values = [sign * one[key] for one in found]
        assert values == sorted(values), key
    assert found[3]["sqnr"] - found[2]["sqnr"] == pytest.approx(12, abs=1)  # 6 dB a bit


def test_errors_of_several_tensors_are_those_of_all_together():
    pairs = [(torch.randn(20), torch.randn(20)), (torch.randn(5), torch.zeros(5)), (torch.zeros(3), torch.ones(3))]
    first, rest = ErrorSums(), None
    first.add(*pairs[0])
    rest = ErrorSums(first.sums)  # as after an interruption
    for pair in pairs[1:]:
        rest.add(*pair)
    whole = tensor_errors(*map(torch.cat, zip(*pairs)))
    assert rest.figures() == pytest.approx({key: whole[key] for key in ("sqnr", "cosine", "l1")})
    assert first.figures() != rest.figures()


def test_weights_and_activations_of_a_model():
    model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    mask = {"method": "bank", "bank": 4, "keep": "1/2", "after_epoch": 0}
    fp.press(model, {"0": fp.Press(4, act_bits=6, mask=mask)})
    fp.schedule(model).finish()
    x = torch.randn(20, 16)
    with activation_errors(model) as found:
        model(x)
    quantizer, weight = model[0].pressed_input, model[0].parametrizations.weight
    assert found == {quantizer.called: tensor_errors(x, quantizer(x))}
    kept = weight.original * weight[0].full_mask()
    assert weight_errors(model) == {"0.weight": tensor_errors(kept, model[0].weight)}
    model(x + 1)
    assert len(found) == 1 and not quantizer._forward_hooks
