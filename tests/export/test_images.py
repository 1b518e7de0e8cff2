"""Memory images: the files alone, read by a small interpreter of its own, give the reference's bits."""

import shutil
import subprocess
import sys
from math import comb
from pathlib import Path

import numpy as np
import pytest
import yaml
from packed_models import Banks, random_model

from frenchpress.common import UserError
from frenchpress.export.images import write_images
from frenchpress.packed.index import Level
from frenchpress.packed.write import write_model

TWO = Level(4, 1, 2), Level(2, 1, 2)
CASES = {
    "dense": {},
    "hcgs": {"levels": TWO, "cells": (12, 9)},
    "own masks": {"levels": TWO, "shared": False, "cells": (8,)},
    "three levels": {"levels": (Level(6, 1, 1), Level(3, 1, 2), Level(1, 2, 3))},
    "other grids": {"act_bits": (16, 13, 9), "bits": 5},
    "one bit": {"bits": 1, "act_bits": (8, 8, 8), "levels": TWO},
    "three bits": {"bits": 3, "context": (0, 0), "cells": (4, 3, 2)},
    "frames apart": {"context": (6, 3), "stride": 3},
    "one frame, later": {"context": (-3, 3)},
    "weights": {"levels": 0.1, "cells": (9, 6)},
    "weights of each gate": {"levels": 0.3, "shared": False, "bits": 4},
    "banks": {"levels": Banks(1, 4, 1), "shared": False, "cells": (9, 6), "bits": 6},
    "blocks that keep five": {"levels": Banks(4, 3, 5), "cells": (9, 6)},
    "one block": {"levels": (Level(64, 1, 2),), "cells": (5,)},
}


# ---- the interpreter: .hex files and manifest in, logits out, in Python's integers ----


def load(directory):
    """Manifest, and the numbers of each file by its name."""
    manifest = yaml.safe_load((directory / "manifest.yaml").read_text())
    entries = [*manifest["memories"], *manifest["replay"]]
    return manifest, {
        e["file"].removesuffix(".hex"): numbers(directory / e["file"], e, manifest["word_bits"]) for e in entries
    }


def numbers(path, entry, word_bits):
    lines = path.read_text().split()
    assert len(lines) == entry["words"] and all(len(line) == word_bits // 4 for line in lines)
    stream = sum(int(line, 16) << (word_bits * k) for k, line in enumerate(lines))
    bits, top = entry["bits"], 1 << (entry["bits"] - 1)
    codes = [stream >> (bits * k) & (2 * top - 1) for k in range(entry["numbers"])]
    assert stream >> (bits * entry["numbers"]) == 0
    if entry["kind"] == "float32":
        return np.array(codes, np.uint32).view(np.float32)
    return {
        "signed": lambda: [code - 2 * top if code >= top else code for code in codes],
        "sign": lambda: [2 * code - 1 for code in codes],
    }.get(entry["kind"], lambda: codes)()


class Index:
    """Kept places of one mask, from the bits of its index."""

    def __init__(self, bits, at, levels):
        self.bits, self.at, self.levels = bits, at, levels

    def behind_runs(self, kept, width, columns):
        """The same of a mask without structure."""
        found, place = [], -1
        for _ in range(kept):
            while (number := self.number(width)) == 2**width - 1:
                place += number
            place += number + 1
            found.append(divmod(place, columns))
        return found

    def in_blocks(self, rows, columns, height, width, counts):
        """The same of a mask whose blocks keep equally many, by the number of the combination."""
        found = []
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                down, across = min(height, rows - top), min(width, columns - left)
                kept, size = counts[2 * (down < height) + (across < width)], down * across
                fewer = min(kept, size - kept)
                number, chosen, place = self.number((comb(size, fewer) - 1).bit_length()), set(), size
                while len(chosen) < fewer:
                    place = next(c for c in range(place - 1, -1, -1) if comb(c, fewer - len(chosen)) <= number)
                    number -= comb(place, fewer - len(chosen))
                    chosen.add(place)
                places = chosen if 2 * kept <= size else set(range(size)) - chosen
                found += [(top + place // across, left + place % across) for place in places]
        return sorted(found)

    def number(self, width):
        self.at += width
        return sum(bit << k for k, bit in enumerate(self.bits[self.at - width : self.at]))

    def kept(self, top, left, rows, columns, depth=0):
        if depth == len(self.levels):
            return [(top + y, left + x) for y in range(rows) for x in range(columns)]
        level, found = self.levels[depth], []
        block = level["block"]
        count = -(-columns // block)
        take = max(1, int(level["numerator"] * count / level["denominator"] + 0.5))
        for y in range(0, rows, block):
            for number in [self.number((count - 1).bit_length()) for _ in range(take)]:
                x = number * block
                found += self.kept(top + y, left + x, min(block, rows - y), min(block, columns - x), depth + 1)
        return found


def matrix(sizes, memory, entries, name):
    """Rows of (column, weight) pairs, those of all gates one after the other."""
    rows, columns, gates = sizes["rows"], sizes["columns"], sizes["gates"]
    everywhere = [(y, x) for y in range(rows) for x in range(columns)]
    masks = [everywhere] * gates
    if sizes["masks"]:
        starts = entries[f"{name}_index"]["starts"]
        indices = [Index(memory[f"{name}_index"], start, sizes["levels"]) for start in starts]
        if "counted" in sizes:
            found = [index.in_blocks(rows, columns, **sizes["counted"]) for index in indices]
        elif "runs" in sizes:
            found = [index.behind_runs(r["kept"], r["width"], columns) for index, r in zip(indices, sizes["runs"])]
        else:
            found = [sorted(index.kept(0, 0, rows, columns)) for index in indices]
        masks = found * (gates // len(found))
    result = [[] for _ in range(gates * rows)]
    for gate, (places, start) in enumerate(zip(masks, entries[f"{name}_weights"]["starts"])):
        for (y, x), weight in zip(places, memory[f"{name}_weights"][start:]):
            result[gate * rows + y].append((x, weight))
    assert sum(map(len, result)) == sizes["kept"] == len(memory[f"{name}_weights"])
    return result


def product(rows, x):
    return [sum(weight * x[column] for column, weight in row) for row in rows]


def rounded(value, shift):
    return (value + (1 << (shift - 1))) >> shift


def held(value, top):
    return max(-top, min(top, value))


def requantized(x, sizes):
    q, top = sizes["requantizer"], (1 << (sizes["input_bits"] - 1)) - 1
    return [held(rounded(v * q["multiplier"], q["shift"]), top) for v in x] if q["multiplier"] else x


def sigmoid(table, x):
    size = min(abs(x), 2**20 - 1)
    low, high = table[size >> 9], table[(size >> 9) + 1]
    y = low + rounded((high - low) * (size & 511), 9)
    return 2**20 - y if x < 0 else y


def lstm(name, sizes, memory, entries, inputs):
    """Outputs and gate arguments of all frames."""
    along = matrix(sizes["input_matrix"], memory, entries, f"{name}_input")
    back = matrix(sizes["recurrent_matrix"], memory, entries, f"{name}_recurrent")
    multipliers = [memory[f"{name}_{kind}"] for kind in ("input_multiplier", "recurrent_multiplier", "bias")]
    count, table, top = sizes["cells"], memory["sigmoid"], (1 << (sizes["output_bits"] - 1)) - 1
    h, c, outputs, arguments = [0] * count, [0] * count, [], []
    for x in inputs:
        sums = product(along, requantized(x, sizes)), product(back, h)
        z = [rounded(a * p + b * q, sizes["shift"]) + bias for a, b, p, q, bias in zip(*sums, *multipliers)]
        i, f, g, o = ([sigmoid(table, v) for v in z[k * count : (k + 1) * count]] for k in range(4))
        for k in range(count):
            c[k] = held(rounded(f[k] * c[k] + (i[k] * (2 * g[k] - 2**20) << 4), 20), 2**31 - 1)
            tanh = 2 * sigmoid(table, 2 * rounded(c[k], 8)) - 2**20
            h[k] = held(rounded(rounded(o[k] * tanh, 10) * sizes["out_multiplier"], 45), top)
        outputs.append(list(h))
        arguments.append(z)
    return outputs, arguments


def replay(directory):
    """Stimulus through the network: logits, and gate arguments by layer."""
    manifest, memory = load(directory)
    network, entries = manifest["network"], {e["file"].removesuffix(".hex"): e for e in manifest["memories"]}
    given, flat = network["features"], memory["stimulus_frames"]
    frames = [flat[k : k + given["dim"]] for k in range(0, len(flat), given["dim"])]
    last, near = len(frames) - 1, range(-given["left"], given["right"] + 1, given["stride"])
    x = [sum((frames[max(0, min(last, t + k))] for k in near), []) for t in range(len(frames))]
    arguments = {}
    for name, sizes in network.items():
        if name.startswith("lstm"):
            x, arguments[name] = lstm(name, sizes, memory, entries, x)
    head = network["head"]
    rows = matrix(head["matrix"], memory, entries, "head")
    logits = []
    for frame in x:
        sums = product(rows, requantized(frame, head))
        numbers_ = zip(sums, memory["head_multiplier"], memory["head_bias"])
        logits.append([held(rounded(s * m, head["shift"]) + b, 2**31 - 1) for s, m, b in numbers_])
    return logits, arguments


# ---- tests ----


@pytest.mark.parametrize("case", CASES)
def test_files_alone_give_the_bits_of_the_reference(tmp_path, case):
    write_images(random_model(3, **CASES[case]), tmp_path / "x", 32, 6, 1, gates=True)
    logits, arguments = replay(tmp_path / "x")
    _, memory = load(tmp_path / "x")
    assert np.array_equal(np.ravel(logits), memory["response_logits"])
    assert len(set(memory["response_logits"])) > 10
    for name, z in arguments.items():
        assert np.array_equal(np.ravel(z), memory[f"response_{name}_gates"])


@pytest.mark.parametrize("word_bits", [8, 16, 64])
def test_words_of_other_widths(tmp_path, word_bits):
    write_images(random_model(4, bits=3, levels=TWO), tmp_path / "x", word_bits, 3, 1, gates=False)
    logits, _ = replay(tmp_path / "x")
    _, memory = load(tmp_path / "x")
    assert np.array_equal(np.ravel(logits), memory["response_logits"])
    assert not any("gates" in name for name in memory)


def test_features_quantize_to_the_frames(tmp_path):
    write_images(random_model(5), tmp_path / "x", 32, 400, 2, gates=False)
    manifest, memory = load(tmp_path / "x")
    feats = memory["stimulus_features"].reshape(400, -1)
    top = 2.0 ** (manifest["network"]["features"]["bits"] - 1) - 1
    frames = np.clip(np.rint((feats - memory["mean"]) * memory["gain"]), -top, top)
    assert np.array_equal(frames.ravel(), memory["stimulus_frames"])
    assert 0 < (np.abs(frames) == top).mean() < 0.01


def test_addresses_follow_each_other(tmp_path):
    found = write_images(random_model(6, levels=TWO), tmp_path / "x", 32, 1, 1, gates=False)
    at = 0
    for entry in found["memories"]:
        assert entry["address"] == at
        at += entry["words"]
    assert at == found["words"]
    on_disk = {path.name for path in (tmp_path / "x").glob("*.hex")}
    assert on_disk == {entry["file"] for entry in [*found["memories"], *found["replay"]]}


CHECKED = "lstm0_input_weights", "lstm1_bias", "head_index", "head_log_prior", "sigmoid", "stimulus_frames"
PROGRAM = """
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "model.h"
#define SUM(A) do { uint64_t s = 0; for (size_t i = 0; i < sizeof A / sizeof *A; i++) s += (uint64_t)A[i] * (i + 1); \\
    printf("%" PRIu64 "\\n", s); } while (0)
int main(void) {
    SUMS
    uint64_t bits = 0;
    for (int i = 0; i < PRESS_FEATURES_DIM; i++) { uint32_t b; memcpy(&b, press_gain + i, 4); bits += b; }
    printf("%" PRIu64 "\\n%d\\n", bits, PRESS_LSTM1_RECURRENT_MATRIX_LEVELS_1_BLOCK);
}
"""


@pytest.mark.parametrize("word_bits", [8, 32, 64])
def test_header_holds_the_same(tmp_path, word_bits):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler")
    directory = tmp_path / "x"
    write_images(random_model(7, levels=TWO), directory, word_bits, 4, 1, gates=True)
    (tmp_path / "check.c").write_text(PROGRAM.replace("SUMS", " ".join(f"SUM(press_{name});" for name in CHECKED)))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wno-unused-variable", "-Wno-unused-const-variable", "-Werror"]
    built = subprocess.run(
        [compiler, *flags, f"-I{directory}", "check.c", "-o", "check"], cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "check"], capture_output=True, text=True)
    assert list(map(int, done.stdout.split())) == expected_sums(directory, word_bits)


def expected_sums(directory, word_bits):
    """Sums of words for weights and index, of numbers for all else; each times its place."""
    manifest, memory = load(directory)
    sums = []
    for name in CHECKED:
        values = memory[name]
        if name.endswith(("weights", "index")):
            values = [int(line, 16) for line in (directory / f"{name}.hex").read_text().split()]
        sums.append(sum(value * (place + 1) for place, value in enumerate(values)) % 2**64)
    bits = int(memory["gain"].view(np.uint32).astype(np.int64).sum())
    return [*sums, bits, manifest["network"]["lstm1"]["recurrent_matrix"]["levels"][1]["block"]]


@pytest.mark.parametrize("options,message", [((24, 5), "--word-bits 24: expected one of"), ((32, 0), "--frames 0")])
def test_refuses_what_is_out_of_range(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        write_images(random_model(), tmp_path / "x", *options, 0, gates=False)
    assert not (tmp_path / "x").exists()


def test_takes_the_place_of_older_images_alone(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds thesis.tex too"):
        write_images(random_model(), tmp_path, 32, 1, 0, gates=False)
    assert (tmp_path / "thesis.tex").exists()
    with monkeypatch.context() as patch, pytest.raises(UserError, match="this directory itself would be replaced"):
        (tmp_path / "here").mkdir()
        patch.chdir(tmp_path / "here")
        write_images(random_model(), Path("."), 32, 1, 0, gates=False)
    for frames in (1, 2):
        write_images(random_model(), tmp_path / "x", 32, frames, 0, gates=False)
    assert load(tmp_path / "x")[0]["replay"][0]["shape"] == [2, 5]
    (tmp_path / "x/testbench.v").write_text("module")
    with pytest.raises(UserError, match="holds testbench.v too"):
        write_images(random_model(), tmp_path / "x", 32, 1, 0, gates=False)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "frenchpress.export.images", *map(str, arguments)], capture_output=True, text=True
    )


def test_the_command(tmp_path: Path):
    write_model(tmp_path / "m.press", random_model())
    done = command(tmp_path / "m.press", "--out", tmp_path / "x", "--frames", 3)
    assert done.returncode == 0, done.stderr
    assert "memories" in done.stdout and (tmp_path / "x" / "model.h").is_file()
    done = command(tmp_path / "none.press", "--out", tmp_path / "y")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path}/none.press: no such file")
