"""`press`, `describe`, `schedule`, `bake` on torch's own modules, against the same weights pressed by hand."""

import copy
import shutil

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import frenchpress.compress as fp
from frenchpress.common import UserError

THIN = {"method": "magnitude", "keep": "1/4", "start_epoch": 0, "end_epoch": 2}
MODULES = {
    "linear": (lambda: nn.Linear(12, 16), (5, 12), {"weight": (16, 12, 1)}),
    "conv1d": (lambda: nn.Conv1d(4, 16, 3), (2, 4, 9), {"weight": (16, 12, 1)}),
    "conv2d": (lambda: nn.Conv2d(8, 16, 3, groups=2), (2, 8, 5, 5), {"weight": (16, 36, 1)}),
    "conv3d": (lambda: nn.Conv3d(1, 16, 2), (2, 1, 3, 3, 3), {"weight": (16, 8, 1)}),
    "gru": (lambda: nn.GRU(5, 8), (4, 2, 5), {"weight_ih_l0": (24, 5, 3), "weight_hh_l0": (24, 8, 3)}),
    "lstm": (
        lambda: nn.LSTM(5, 8, 2, bidirectional=True, proj_size=6),
        (4, 2, 5),
        {
            f"weight_{part}_l{layer}{way}": shape
            for layer, inputs in ((0, 5), (1, 12))
            for way in ("", "_reverse")
            for part, shape in (("ih", (32, inputs, 4)), ("hh", (32, 6, 4)), ("hr", (6, 8, 1)))
        },
    ),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=MODULES)
def case(request):
    make, shape, weights = MODULES[request.param]
    return nn.ModuleDict({"part": make()}), torch.randn(shape), weights


def first(output):
    return output[0] if isinstance(output, tuple) else output


def by_hand(weight, mask=None):
    """4 bits with a scale per row, whose largest magnitude is 7 steps; steps have 8 digits."""
    rows = weight.detach().flatten(1) if mask is None else weight.detach().flatten(1) * mask
    digits, exponent = torch.frexp(rows.abs().amax(1, keepdim=True) / 7)
    scale = torch.ldexp((digits * 256).round() / 256, exponent)
    return torch.where(scale > 0, (rows / scale).round() * scale, 0.0).view(weight.shape)


def test_every_weight_of_a_module_is_seen_on_its_grid_with_a_scale_per_row(case):
    model, x, weights = case
    reference = copy.deepcopy(model)
    assert fp.press(model, {"part": fp.Press(weight_bits=4)}) is model
    found = [(t.name, *t.chain.shape, t.chain.gates) for t in fp.pressed_tensors(model)]
    assert found == [(f"part.{key}", *shape) for key, shape in weights.items()]
    with torch.no_grad():
        for key in weights:
            getattr(reference["part"], key).copy_(by_hand(getattr(reference["part"], key)))
    for key, (rows, columns, _) in weights.items():
        assert torch.equal(getattr(model["part"], key), getattr(reference["part"], key))
        described = fp.describe(model)[f"part.{key}"]
        assert (described.method, described.bits, described.density) == ("uniform", 4, 1.0)
        assert len(described.scales) == rows and described.bytes == rows * columns // 2 + 2 * rows
    wanted = first(reference["part"](x))
    assert torch.equal(first(model["part"](x)), wanted)
    plain = fp.bake(model)
    assert torch.equal(first(plain["part"](x)), wanted) and type(plain["part"]) is type(reference["part"])
    assert plain.state_dict().keys() == reference.state_dict().keys()
    assert torch.equal(first(model["part"](x)), wanted) and len(fp.pressed_tensors(model)) == len(weights)


def test_masks_thin_over_epochs_and_only_kept_weights_have_a_gradient(case):
    model, x, weights = case
    fp.press(model, {"part": fp.Press(weight_bits=4, mask=THIN)})
    schedule, optimizer, seen = fp.schedule(model), torch.optim.SGD(model.parameters(), 0.1), []
    for epoch in range(3):
        schedule.before_step(epoch, 0, 1)
        chosen_from = {t.name: t.matrix.detach().clone() for t in fp.pressed_tensors(model)}
        optimizer.zero_grad()
        first(model["part"](x)).square().sum().backward()
        schedule.after_backward()
        seen.append(schedule.density)
        for tensor in fp.pressed_tensors(model):
            kept = tensor.chain.full_mask()
            assert tensor.gradient[kept].any() and not tensor.gradient[~kept].any()
        optimizer.step()
    assert seen[0] == 1 > seen[1] > seen[2] == pytest.approx(1 / 4, abs=0.01)
    for tensor in fp.pressed_tensors(model):
        kept = tensor.chain.full_mask()
        gates = zip(chosen_from[tensor.name].chunk(tensor.chain.gates), kept.chunk(tensor.chain.gates))
        assert all(w[k].abs().min() >= w[~k].abs().max() and k.sum() == k.numel() // 4 for w, k in gates)
        key = tensor.name.removeprefix("part.")
        assert torch.equal(getattr(model["part"], key), by_hand(tensor.weight, kept))


def test_copies_and_state_dicts_carry_masks_steps_and_ranges(case):
    model, x, _ = case
    rule = fp.Press(weight_bits=4, act_bits=8, output_bits=6, quantizer="lsq", mask=THIN)
    untrained = fp.press(copy.deepcopy(model), {"part": rule})
    fp.press(model, {"part": rule})
    schedule = fp.schedule(model)
    schedule.before_step(2, 0, 1)
    first(model["part"](x)).sum().backward()
    schedule.after_backward()
    twin = copy.deepcopy(model)
    wanted = first(model.eval()["part"](x))
    assert torch.equal(first(twin.eval()["part"](x)), wanted)
    untrained.load_state_dict(model.state_dict())
    assert torch.equal(first(untrained.eval()["part"](x)), wanted)
    with torch.no_grad():
        for tensor in fp.pressed_tensors(twin):
            tensor.weight.add_(1)
    assert torch.equal(first(model["part"](x)), wanted)
    assert torch.equal(first(fp.bake(model)["part"](x)), wanted)


def test_gates_draw_one_mask_and_other_weights_draw_their_own():
    rule = fp.Press(mask={"method": "hcgs", "blocks": [4], "keep": ["1/2"]})
    lstm = fp.press(nn.LSTM(8, 8, 2), {"weight*": rule})
    masks = {t.name: t.chain.mask for t in fp.pressed_tensors(lstm)}
    assert all(mask.shape == (8, 8) and mask.sum() == 32 for mask in masks.values())
    assert len({tuple(mask.flatten().tolist()) for mask in masks.values()}) > 1
    other = fp.press(nn.LSTM(8, 8, 2), {"weight_hh_l1": rule})
    assert torch.equal(fp.pressed_tensors(other)[0].chain.mask, masks["weight_hh_l1"])


def test_the_nearest_name_wins():
    model = nn.ModuleDict({"lstm": nn.LSTM(8, 8), "fc": nn.Linear(8, 8), "out": nn.Linear(8, 8)})
    rules = {"lstm": 2, "lstm.weight_hh_l0": 3, "f*": 4, "default": 5}
    fp.press(model, {name: fp.Press(weight_bits=bits) for name, bits in rules.items()})
    bits = {t.name: t.chain.quantizer.bits for t in fp.pressed_tensors(model)}
    assert bits == {"lstm.weight_ih_l0": 2, "lstm.weight_hh_l0": 3, "fc.weight": 4, "out.weight": 5}


def test_an_embedding_is_pressed_by_its_name_alone():
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 4))
    assert [t.name for t in fp.pressed_tensors(fp.press(copy.deepcopy(model), {"*": fp.Press(4)}))] == ["1.weight"]
    table = by_hand(model[0].weight)
    fp.press(model, {"0": fp.Press(weight_bits=4, output_bits=16)})
    assert torch.equal(model[0].weight, table)
    torch.testing.assert_close(model[0](torch.tensor([3, 1])), table[[3, 1]], atol=1e-3, rtol=0)
    assert fp.describe(model)["1.weight"].method == "float" and len(fp.describe(model)["0.weight"].scales) == 10


def test_inputs_and_outputs_are_quantized_however_they_are_given():
    lstm = nn.LSTM(6, 8)
    plain = copy.deepcopy(lstm)
    fp.press(lstm, {"*": fp.Press(act_bits=3, output_bits=4)})
    sequences = [torch.randn(5, 6), torch.randn(3, 6)]
    packed = pack_sequence(sequences)
    given, out = lstm.pressed_input, lstm(packed)[0]
    on_grid = given.eval()(packed.data)
    assert len(on_grid.unique()) <= 7 and len(out.data.unique()) <= 15
    torch.testing.assert_close(out.data, lstm.pressed_output(plain(packed._replace(data=on_grid))[0].data))
    lstm.eval()
    assert torch.equal(lstm(sequences[0])[0], lstm(input=sequences[0])[0])
    rows = [fp.describe(lstm)[name] for name in ("input", "output")]
    assert [(row.method, row.bits) for row in rows] == [("fixed", 3), ("fixed", 4)]
    assert rows[0].high == float(packed.data.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bits", [4, 12])
def test_half_precision_is_pressed_in_float32(dtype, bits):
    layer = nn.Linear(64, 16).to(dtype)
    wide = nn.Linear(64, 16)
    wide.load_state_dict(layer.state_dict())
    for model in (layer, wide):
        fp.press(model, {"*": fp.Press(weight_bits=bits, mask={"method": "hcgs", "blocks": [8], "keep": ["1/2"]})})
    assert layer.weight.dtype == dtype and torch.equal(layer.weight, wide.weight.to(dtype))


def test_autocast_changes_no_weight():
    layer = fp.press(nn.Linear(64, 16), {"*": fp.Press(weight_bits=12)})
    wanted, x = layer.weight, torch.randn(4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.weight, wanted) and layer(x).dtype == torch.bfloat16


def test_distributed_data_parallel(tmp_path):
    model = fp.press(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 2)), {"*": fp.Press(4, 8, "lsq", mask=THIN)})
    x, schedule = torch.randn(4, 6), fp.schedule(model)
    schedule.before_step(2, 0, 1)
    wanted = torch.autograd.grad(model(x).sum(), fp.pressed_tensors(model)[0].weight)[0]
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        nn.parallel.DistributedDataParallel(model)(x).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(fp.pressed_tensors(model)[0].weight.grad, wanted)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled():
    model = fp.press(nn.Sequential(nn.Linear(6, 8)), {"*": fp.Press(4, mask=THIN)})
    fp.schedule(model).before_step(2, 0, 1)
    x, weight = torch.randn(4, 6), fp.pressed_tensors(model)[0].weight
    wanted = torch.autograd.grad(model(x).sum(), weight)[0]
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), weight)[0], wanted)


def net():
    return nn.ModuleDict({"fc": nn.Linear(8, 4), "lstm": nn.LSTM(8, 8), "words": nn.Embedding(4, 8)})


@pytest.mark.parametrize(
    "rules, words",
    [
        ({"lstn": fp.Press(4)}, "press: lstn: matches no module, did you mean 'lstm'.; the modules are fc, ls"),
        ({"*": fp.Press(4), "f*": fp.Press(3)}, r"press: f\*: \* and f\* both match fc.weight; give fc.weight its own"),
        ({"fc": {"weight_bits": 4}}, r"press: fc: expected Press\(...\), got dict"),
        ({"words*": fp.Press(4)}, r"press: words\*: all weights that it matches .* an Embedding is pressed under"),
        ({"fc": fp.Press(4, quantizer="unifrom")}, "press: fc.weight: quantizer: unknown 'unifrom', did you mean"),
        ({"fc": fp.Press(4, quantizer_options={"x": 1})}, "fc.weight: quantizer_options: uniform: unknown option"),
        ({"fc": fp.Press(mask={"method": "block", "block": 9, **THIN})}, "press: fc.weight: mask"),
        ({"fc": fp.Press(mask={"method": "cell", "keep": 0.5, "after_epoch": 0})}, "mask.method: unknown 'cell'"),
        ({"fc": fp.Press(act_quantizer="pact")}, "press: fc: act_quantizer: pact would do nothing"),
        ({"words": fp.Press(act_bits=4)}, "press: words: act_bits: the input of an Embedding is an index"),
        ({"lstm": fp.Press(8, 8), "lstm.weight_hh_l0": fp.Press(4)}, "press: lstm: act_bits, output_bits: its weights"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(rules, words):
    model = net()
    with pytest.raises(UserError, match=words) as error:
        fp.press(model, {"fc": fp.Press(8), **rules} if "fc" not in rules and "*" not in rules else rules)
    assert "\n" not in str(error.value) and not fp.pressed_tensors(model)
    with pytest.raises(UserError, match="bake: no weight of this model is pressed"):
        fp.bake(model)


def test_what_is_no_table_is_refused():
    with pytest.raises(UserError, match=r"press: expected a table such as \{'lstm.\*': Press\(...\)\}, got Press"):
        fp.press(net(), fp.Press(4))
    with pytest.raises(UserError, match="mask: expected a table such as .*, got 'magnitude'"):
        fp.Press(mask="magnitude")


def test_baked_before_it_was_pruned_is_said():
    model = fp.press(net(), {"fc": fp.Press(mask={"method": "magnitude", "keep": "1/4", "after_epoch": 0})})
    with pytest.warns(UserWarning, match="bake: fc.weight: keeps all its weights, where 0.25 of them were asked for"):
        fp.bake(model)
    fp.schedule(model).before_step(0, 0, 1)
    assert (fp.bake(model).fc.weight == 0).float().mean() == 0.75


def test_what_is_pressed_or_shared_is_refused():
    model = fp.press(net(), {"fc": fp.Press(8)})
    with pytest.raises(UserError, match="press: fc.weight: its module has a parametrization already"):
        fp.press(model, {"fc": fp.Press(4)})
    tied = nn.Sequential(nn.Embedding(4, 8), nn.Linear(8, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(UserError, match="0.weight and 1.weight are one parameter"):
        fp.press(tied, {"1": fp.Press(4)})
    with pytest.raises(UserError, match="press: weight: has no shape yet"):
        fp.press(nn.LazyLinear(4), {"*": fp.Press(4)})
    for what in ("output_bits", "weight_bits"):
        with pytest.raises(UserError, match=f"{what}: 33 is not a number of bits"):
            fp.Press(**{what: 33})


def test_a_weight_that_is_no_number_is_named():
    model = fp.press(net(), {"fc": fp.Press(8)})
    with torch.no_grad():
        fp.pressed_tensors(model)[0].weight[1, 2] = float("nan")
    with pytest.raises(UserError, match="fc.weight: holds numbers that are NaN"):
        model["fc"](torch.randn(1, 8))


def test_the_table_shows_everything():
    model = fp.press(net(), {"fc": fp.Press(4, 8, mask={"method": "hcgs", "blocks": [4], "keep": ["1/2"]})})
    head, *lines, total = str(fp.describe(model)).splitlines()
    assert head.split() == ["tensor", "method", "bits", "range", "scale", "density", "bytes"]
    names = ["fc.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "words.weight", "fc"]
    assert [line.split()[0] for line in lines] == names
    assert " hcgs, uniform " in lines[0] and " 50.00 % " in lines[0] and "not found yet" in lines[-1]
    size = fp.size_report(model)
    assert total.startswith(f"whole model: {size['stored_bytes']} bytes, as float32 {size['dense_bytes']}: ")
