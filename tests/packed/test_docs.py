"""docs/packed_model.md: its dump is what the code writes, its figures are what the reference computes."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from packed_models import NATIVE, random_model

from frenchpress.packed import reference
from frenchpress.packed.index import Level
from frenchpress.packed.write import model_bytes

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "packed_model.md").read_text(encoding="utf-8")
FRAMES = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)


def model():
    levels = (Level(2, 1, 2),)
    return random_model(3, dim=2, context=(1, 0), cells=(2,), outputs=2, bits=4, act_bits=(16, 16, 12), levels=levels)


def test_dump_is_what_is_written():
    lines = re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)(?:  |$)", TEXT, re.M)
    data = b""
    for offset, octets in lines:
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(octets)
    assert data == model_bytes(model())


def numbers(text):
    return [int(word) for word in text.split()]


def test_figures_are_what_the_reference_computes():
    packed, z = model(), []
    stream = reference.ReferenceStream(packed, lambda layer, arguments: z.append(arguments.tolist()))
    rows = re.findall(r"^\| \d \|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|$", TEXT, re.M)
    assert len(rows) == len(FRAMES)
    for frame, (arguments, c, h, x, logits) in zip(FRAMES, rows):
        assert stream.push(frame[None]).ravel().tolist() == numbers(logits)
        layer = stream._layers[0]
        assert (z[-1], layer._c.tolist(), layer._h.tolist()) == (numbers(arguments), numbers(c), numbers(h))
        q = packed.head.requantizer
        assert reference._requantized(layer._h, q, packed.head.input_bits).tolist() == numbers(x)
    for frame in reference.quantize_features(packed.input, FRAMES).tolist():
        assert f"({frame[0]}, {frame[1]})" in " ".join(TEXT.split())
    kept = packed.layers[0].input_matrix.values[:, 2:]
    assert all(f"({a} {b})" in " ".join(TEXT.split()) for a, b in kept.tolist())
    first = int(kept[0] @ reference.quantize_features(packed.input, FRAMES)[0])
    assert f"= {first}\n" in TEXT and f"= {z[0][0]}, that is {z[0][0] / 65536:.4f}" in TEXT


def test_build_lines_build(tmp_path):
    if shutil.which("cc") is None or shutil.which("ar") is None:
        pytest.skip("no compiler")
    for path in NATIVE.glob("*.[ch]"):
        shutil.copy(path, tmp_path)
    lines = re.findall(r"^    (cc .*?)(?: +#.*)?$", TEXT, re.M)
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(line.replace("-O3", "-O0"), shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "libpress.a").exists() and (tmp_path / "libpress.so").exists()
