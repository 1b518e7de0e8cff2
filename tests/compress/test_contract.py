"""What every quantizer promises: codes that fit, the scale's reach, numbers or an error, half precision."""

import copy

import pytest
import torch
from mask_cases import hcgs_of

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight, make_act_quantizer, make_quantizer
from frenchpress.compress.quantizers import QUANTIZERS, Quantizer, groups_of, name_quantizers, round_scale
from frenchpress.compress.size import matrix_size
from frenchpress.config.press import LayerPress
from frenchpress.kernels.blocks import block_linear
from frenchpress.nnet.lstm import QuantLSTMLayer

CASES = [
    (name, bits) for name in QUANTIZERS if name != "none" for bits in (1, 2, 4, 6, 12) if bits in QUANTIZERS[name].takes
]
every = pytest.mark.parametrize("name, bits", CASES)
HCGS = hcgs_of((8, 2), ("1/4", "1/2"))


def matrix(seed=0, shape=(8, 48)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class GroupQuantizer(Quantizer):
    """A scale for every 8 columns of a row; here as a stranger would write it."""

    @property
    def granularity(self):
        return groups_of(8)

    def place(self, x):
        groups = x.unflatten(-1, (-1, 8))
        scale = round_scale(groups.abs().amax(-1, keepdim=True) / self.top, self.bits)
        scale = scale.expand_as(groups).flatten(-2)
        return (x / scale).round().clamp(-self.top, self.top), scale


class OffsetQuantizer(Quantizer):
    """Codes from 0 up, with a zero point."""

    def place(self, x):
        scale = round_scale(x.abs().amax() / self.top, self.bits).view(1, 1)
        return (x / scale).round(), scale

    def codes_of(self, integers, scale):
        codes = super().codes_of(integers, scale)
        return type(codes)(integers + self.top, scale, zero=torch.tensor(self.top))


@every
def test_codes_fit_the_bits_and_give_the_tensor(name, bits):
    q, x = make_quantizer(name, bits).eval(), matrix()
    codes = q.encode(x)
    assert torch.equal(codes.values(), q(x))
    low, high = int(codes.codes.min()), int(codes.codes.max())
    if codes.table is not None:
        assert low >= 0 and high < len(codes.table) <= q.levels <= 2**q.stored_bits
    elif bits > 1:
        assert -(2 ** (q.stored_bits - 1)) <= low and high < 2 ** (q.stored_bits - 1)


@every
def test_granularity_says_how_many_scales_there_are(name, bits):
    q, x = make_quantizer(name, bits).eval(), matrix()
    scale = q.encode(x).scale
    if q.granularity.whole_rows:
        assert q.scales_stored(8, 48) == (0 if name in ("ceil", "dorefa") else scale.numel())
    else:
        assert q.scales_stored(8, 48) == 8 * 3 and scale.shape == x.shape
    assert q.movable == (q.granularity.whole_rows and name != "inq")


def test_a_zero_point():
    q, x = OffsetQuantizer(4), matrix()
    codes = q.encode(x)
    assert int(codes.codes.min()) >= 0 and torch.equal(codes.values(), q(x))


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_error_that_names_the_matrix(name, bits, bad):
    model = torch.nn.ModuleDict({"lstm0": PressedWeight((8, 48), LayerPress(bits, quantizer=name))})
    name_quantizers(model)
    weight = copy.deepcopy(model).lstm0
    weight.weight.data.copy_(matrix())
    weight()  # a learned step starts from sound weights
    weight.weight.data[3, 5] = bad
    for call in (weight, weight.integers):
        with pytest.raises(UserError, match="^lstm0: holds numbers that are NaN or infinite"):
            call()


@pytest.mark.parametrize("name", ["lsq", "uniform", "binary", "apot"])
def test_weights_that_float32_just_holds_are_quantized_or_refused(name):
    bits = 1 if name == "binary" else 4
    try:
        assert make_quantizer(name, bits)(matrix() * 1e38).isfinite().all()
    except UserError as error:
        assert "too large for float32" in str(error)
    if name == "lsq":
        with pytest.raises(UserError, match="too large"):
            make_quantizer("lsq", 4)(torch.full((2, 8), 3e38))


def test_a_nan_scale_stays_one_where_nothing_waits_for_it():
    assert round_scale(torch.tensor(float("nan")), 4).isnan()


@pytest.mark.parametrize("method, options", [("fixed", {}), ("fixed", {"range": "mse"}), ("pact", {}), ("lsq", {})])
def test_a_calibration_batch_with_a_nan_is_an_error_that_names_the_place(method, options):
    model = torch.nn.ModuleDict({"head": make_act_quantizer(method, 8, **options)})
    name_quantizers(model)
    with pytest.raises(UserError, match="^head: holds numbers that are NaN or infinite, while its range is calibrated"):
        model.head(torch.tensor([0.5, float("nan"), 1.0]))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, bits, dtype):
    q, x = make_quantizer(name, bits).eval(), (0.05 * matrix()).to(dtype)
    assert torch.equal(q(x), q(x.float()).to(dtype)) and q(x).dtype == dtype and q(x).isfinite().all()
    integers, scale = q.integers(x)
    assert torch.equal((integers * scale).to(dtype), q(x))
    x.requires_grad_()
    q(x).sum().backward()
    assert x.grad.dtype == dtype and x.grad.isfinite().all()


@pytest.mark.parametrize("method", ["fixed", "dynamic", "pact", "lsq"])
def test_half_precision_of_activations(method):
    q = make_act_quantizer(method, 12)
    x = (0.05 * matrix()).half()
    y = q(x.clone())
    assert y.dtype == torch.float16 and y.isfinite().all()
    assert torch.equal(y, q(x.float()).half())


@pytest.mark.parametrize("seed", range(20))
def test_twenty_bits_are_their_own_fixed_point(seed):
    q, x = make_quantizer("uniform", 20), matrix(seed, (64, 64))
    assert torch.equal(q(q(x)), q(x)) and int(q.integers(x)[0].abs().amax(1).min()) == q.top


BLOCKS = {"blocks": [8, 2], "keep": ["1/4", "1/2"]}


def masked(**press):
    return torch.nn.ModuleDict({"head": PressedWeight((16, 32), LayerPress(8, **press))})


@pytest.mark.parametrize(
    "other",
    [{"mask": {"method": "magnitude", "keep": "1/8", "after_epoch": 0}}, {"prune": {"keep": 0.5, "after_epoch": 1}}],
)
def test_the_state_of_another_mask_method_is_refused(tmp_path, other):
    model = masked(hcgs=HCGS)
    theirs = masked(**other)
    theirs.head.weight.data.zero_()
    torch.save(theirs.state_dict(), tmp_path / "state.pt")
    for state in (theirs.state_dict(), torch.load(tmp_path / "state.pt", weights_only=True)):
        with pytest.raises(UserError, match="^head: these weights have a mask of method (magnitude|prune), this model"):
            model.load_state_dict(state, strict=False)
        theirs.load_state_dict(state)


def test_hcgs_is_one_method_however_it_is_said_and_states_from_before_are_taken():
    model = masked(hcgs=HCGS)
    model.head.weight.data.zero_()
    state = model.state_dict()
    masked(mask={"method": "hcgs", **BLOCKS}).load_state_dict(state)
    masked(mask={"method": "coo", "block": 8, "nonzeros": 8, "after_epoch": 1}).load_state_dict(
        dict(state)  # without metadata
    )


def grouped(rows, columns, gates):
    """A matrix with a mask of blocks, a scale for every 8 columns."""
    weight = PressedWeight((rows, columns), LayerPress(4, hcgs=HCGS), gates, torch.Generator().manual_seed(1))
    weight.quantizer = GroupQuantizer(4)
    weight.weight.data.copy_(matrix(1, (rows, columns)))
    return weight


def test_what_moves_weights_stays_away_from_groups_of_columns():
    weight = grouped(64, 64, 4)
    assert weight.structure is None and weight.quantizer.scales_stored(64, 64) == 64 * 8
    assert matrix_size("x", weight).scale_bits == 64 * 8 * 16
    weight.quantizer = make_quantizer("uniform", 4)
    assert weight.structure is not None
    x = matrix(2, (9, 64))
    torch.testing.assert_close(block_linear(x, weight.compact(weight.structure), weight.structure), x @ weight().t())


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_scale_for_every_8_columns_trains_on_what_it_stores(native, monkeypatch):
    """Outputs of a layer against those of one that is given the stored weights as float ones."""
    from frenchpress.kernels.native import library

    monkeypatch.setenv("FRENCHPRESS_NATIVE", native)
    library.cache_clear()
    layer = QuantLSTMLayer(64, 32, LayerPress(4, hcgs=HCGS), generator=torch.Generator().manual_seed(3))
    plain = QuantLSTMLayer(64, 32, LayerPress())
    for name in ("input_matrix", "recurrent_matrix"):
        pressed = getattr(layer, name)
        pressed.quantizer = GroupQuantizer(4)
        integers, scale = pressed.integers()
        getattr(plain, name).weight.data.copy_(integers * scale)
    plain.norm.load_state_dict(layer.norm.state_dict())
    x = matrix(4, (8, 12, 64)).requires_grad_()
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    library.cache_clear()
