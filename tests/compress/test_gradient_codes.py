"""Codes of gradients: their bytes are those that are counted, and say what the compressors decode."""

import pytest
import torch

from frenchpress.common import UserError
from frenchpress.compress.traffic import multi_step, qsgd, read_traffic, top_k
from frenchpress.compress.traffic.codes import MultiStepRounding, Qsgd, TopK

RATIOS = ["1/500", "1/16", 0.3, 1]


def numbers(count):
    """Some of them zero, some the same."""
    x = torch.randn(count, generator=torch.Generator().manual_seed(count))
    return torch.where(x.abs() < 0.2, 0.0, x) if count % 2 else x.mul(8).round()


def both_ways(code, x):
    sent = code.encode(x, torch.Generator().manual_seed(5))
    assert sent.dtype == torch.uint8 and sent.dim() == 1
    return len(sent), code.decode(sent, len(x))


@pytest.mark.parametrize("count", [1, 2, 37, 1000, 4097])
@pytest.mark.parametrize("ratio", RATIOS)
def test_what_is_sent_is_what_is_counted(count, ratio):
    x = numbers(count)
    code = TopK(ratio=ratio)
    size, decoded = both_ways(code, x)
    counted = top_k(x, code.ratio)
    assert size == counted.bytes and torch.equal(decoded, counted.decoded)
    for partitions, bits in ((1, 1), (3, 4), (5000, 16)):
        code = MultiStepRounding(ratio=ratio, partitions=partitions, bits=bits)
        size, decoded = both_ways(code, x)
        counted = multi_step(x, code.ratio, partitions, bits)
        assert size == counted.bytes and torch.equal(decoded, counted.decoded)


@pytest.mark.parametrize(("levels", "width"), [(1, 2), (7, 4), (8, 5)])
def test_qsgd_sends_a_norm_a_bucket_and_as_many_bits_a_number(levels, width):
    x = numbers(1001)
    size, decoded = both_ways(Qsgd(levels=levels, bucket=64), x)
    assert size == 16 * 4 + -(-1001 * width // 8)
    assert torch.equal(decoded, qsgd(x, levels, 64, torch.Generator().manual_seed(5)).decoded)


@pytest.mark.parametrize("code", [TopK(ratio=0.1), MultiStepRounding(ratio=0.1, partitions=4, bits=4), Qsgd()])
def test_bytes_depend_on_the_count_alone_and_what_is_no_number_is_not_hidden(code):
    x = numbers(1000)
    worse = x.clone()
    worse[3], worse[7] = torch.nan, torch.inf
    sizes, decoded = zip(*(both_ways(code, one) for one in (x, torch.zeros(1000), worse)))
    assert len(set(sizes)) == 1
    assert torch.equal(decoded[1], torch.zeros(1000)) and not decoded[2].isfinite().all()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("fp61", "traffic: unknown 'fp61', did you mean 'fp16'"),
        ({"ratio": 0.5}, "traffic: method is missing; use one of fp16, top_k"),
        ({"method": 3}, "traffic.method: unknown 3"),
        ("top_k", "traffic: top_k: ratio is missing; write {method: top_k, ratio: ...}"),
        ({"method": "top_k", "ratio": 2}, "traffic: top_k: ratio: 2 is out of range; it must be above 0"),
        ({"method": "top_k", "ratio": "a/b"}, "traffic: top_k: ratio: 'a/b' is not a fraction"),
        ({"method": "top_k", "ratio": 0.5, "feedbak": True}, "unknown option 'feedbak', did you mean 'feedback'"),
        ({"method": "multi_step", "ratio": 0.5, "bits": 4}, "partitions is missing; write {method: multi_step, part"),
        ({"method": "multi_step", "ratio": 1, "bits": 17, "partitions": 1}, "multi_step: bits: 17 is out of range"),
        ({"method": "multi_step", "ratio": 1, "bits": True, "partitions": 1}, "bits: True is no int"),
        ({"method": "qsgd", "levels": 0}, "qsgd: levels: 0 is out of range"),
        ({"method": "qsgd", "feedback": True}, "qsgd: unknown option 'feedback'"),
        ({"method": "power_sgd", "start": 1}, "power_sgd: start: 1 is out of range; it must be at least 2"),
        ({"method": "fp16", "bits": 3}, "fp16: unknown option 'bits'; it takes no options"),
    ],
)
def test_what_is_wrong_is_one_clear_line(said, words):
    with pytest.raises(UserError) as error:
        read_traffic(said)
    assert words in str(error.value) and "\n" not in str(error.value)
