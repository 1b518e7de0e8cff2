"""The same weights into Brevitas and torchao, where they have the same method: the same numbers out.

Scales here keep 8 binary digits up to 8 bits; theirs are float32. The weights are such that theirs have so few too.
"""

import pytest
import torch
from torch import nn

import frenchpress.compress as fp


def weights(bits, per_row, shape=(16, 64)):
    """Random weights whose largest of each row, or of all, is a whole number of steps with 8 binary digits."""
    generator = torch.Generator().manual_seed(bits)
    x = torch.rand(shape, generator=generator) * 2 - 1
    top = 2 ** (bits - 1) - 1
    step = torch.randint(128, 256, (shape[0] if per_row else 1, 1), generator=generator) / 2.0**16
    x = x * step * top * 0.99
    rows = x if per_row else x.view(1, -1)
    rows.scatter_(1, rows.abs().argmax(1, keepdim=True), step * top)
    return x


def pressed(x, bits, per_row=True, **said):
    layer = nn.Linear(x.shape[1], x.shape[0])
    layer.weight.data.copy_(x)
    return fp.press(layer, {"*": fp.Press(weight_bits=bits, quantizer_options={"per_row": per_row}, **said)})


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("per_row", [True, False])
def test_brevitas_integer_weights(bits, per_row):
    pytest.importorskip("brevitas", reason="brevitas is not installed")
    from brevitas.nn import QuantLinear
    from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat

    kind = Int8WeightPerChannelFloat if per_row else Int8WeightPerTensorFloat
    x = weights(bits, per_row)
    theirs = QuantLinear(x.shape[1], x.shape[0], bias=False, weight_quant=kind, weight_bit_width=bits)
    theirs.weight.data.copy_(x)
    given = torch.randn(5, x.shape[1])
    ours = pressed(x, bits, per_row)
    nn.init.zeros_(ours.bias)
    assert torch.equal(theirs.quant_weight().value, ours.weight)
    up = torch.randn(5, x.shape[0])
    for layer in (theirs, ours):
        (layer(given) * up).sum().backward()
    assert torch.equal(theirs(given), ours(given))
    # Theirs goes through the scale too, and so to the largest weight of each.
    others = x.abs() < (x.abs().amax(1, keepdim=True) if per_row else x.abs().amax())
    grads = theirs.weight.grad, fp.pressed_tensors(ours)[0].weight.grad
    torch.testing.assert_close(*(grad[others] for grad in grads))


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("per_row", [True, False])
def test_torchao_integer_weights(bits, per_row):
    primitives = pytest.importorskip("torchao.quantization.quant_primitives", reason="torchao is not installed")
    x, top = weights(bits, per_row), 2 ** (bits - 1) - 1
    block = (1, x.shape[1]) if per_row else x.shape
    symmetric = primitives.MappingType.SYMMETRIC
    scale, zero = primitives.choose_qparams_affine(x, symmetric, block, torch.int8, -top, top)
    integers = primitives.quantize_affine(x, block, scale, zero, torch.int8, -top, top)
    theirs = primitives.dequantize_affine(integers, block, scale, zero, torch.int8, -top, top)
    ours = pressed(x, bits, per_row)
    assert torch.equal(theirs, ours.weight) and torch.equal(integers.long(), fp.pressed_tensors(ours)[0].integers[0])


def test_torchao_two_of_four():
    sparsity = pytest.importorskip("torchao.sparsity.sparse_api", reason="torchao is not installed")
    x = weights(8, True)
    theirs = nn.Sequential(nn.Linear(64, 16))
    theirs[0].weight.data.copy_(x)
    sparsifier = sparsity.WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(theirs, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    ours = pressed(x, 8, mask={"method": "bank", "bank": 4, "keep": "2/4", "after_epoch": 0})
    fp.schedule(ours).before_step(0, 0, 1)
    assert torch.equal(theirs[0].weight != 0, ours.weight != 0) and (ours.weight != 0).sum() == x.numel() // 2
