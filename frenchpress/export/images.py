"""Memory images of a packed model, for hardware: `frenchpress images exp/x/model.press --out DIR`.

DIR gets a .hex file for each memory (one word per line, as $readmemh of Verilog reads it), manifest.yaml, which says
what is in them, model.h with the same as C arrays, and an utterance with what must come out of it, bit by bit.
docs/packed_model.md describes the arithmetic between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_dir, blaming, read_yaml, run_main
from frenchpress.common.bits import pack_bits, to_bytes
from frenchpress.packed.format import read_model
from frenchpress.packed.memories import FLOAT, SIGNED, Memory, network_memories, network_sizes, replay_memories
from frenchpress.packed.model import PackedModel

WORD_BITS = 8, 16, 32, 64
MANIFEST, HEADER = "manifest.yaml", "model.h"
_MOST_FRAMES = 10000
_INT32_MIN = -(2**31)
_C_BITS = 16, 32  # of the numbers that are not weights or an index


def words(memory: Memory, word_bits: int) -> NDArray[np.unsignedinteger]:
    """The numbers of a memory in words of `word_bits` bits, filled up with zeros."""
    data = to_bytes(pack_bits(memory.codes, memory.bits))
    size = word_bits // 8
    return np.frombuffer(data + bytes(-len(data) % size), f"<u{size}")


def hex_lines(values: NDArray[np.unsignedinteger], word_bits: int) -> str:
    """A word per line, in hexadecimal digits."""
    return "".join(f"{word:0{word_bits // 4}x}\n" for word in values.tolist())


def write_images(model: PackedModel, out: Path, word_bits: int, frames: int, seed: int, gates: bool) -> dict[str, Any]:
    """Fill the directory `out`, whole or not at all; what its manifest says.

    UserError when the options are out of range, or when `out` holds something else.
    """
    if word_bits not in WORD_BITS:
        raise UserError(f"--word-bits {word_bits}: expected one of {', '.join(map(str, WORD_BITS))}")
    if not 1 <= frames <= _MOST_FRAMES:
        raise UserError(f"--frames {frames} is outside 1 to {_MOST_FRAMES}")
    if seed < 0:
        raise UserError(f"--seed {seed}: expected 0 or more")
    if out.resolve() == Path.cwd():
        raise UserError(f"{out}: this directory itself would be replaced; name another")
    if out.exists():
        there = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
        others = there - _files_of(out)
        if others:
            raise UserError(f"{out}: holds {min(others)} too; name a directory that is new, empty or of images alone")
    network, replay = network_memories(model), replay_memories(model, frames, seed, gates)
    found = _manifest(model, network, replay, word_bits)
    with atomic_dir(out) as directory:
        for memory in (*network, *replay):
            (directory / f"{memory.name}.hex").write_text(hex_lines(words(memory, word_bits), word_bits))
        (directory / MANIFEST).write_text(yaml.safe_dump(found, sort_keys=False, width=120, default_flow_style=None))
        (directory / HEADER).write_text(c_header(found["network"], [*network, *replay], word_bits))
    return found


def _files_of(directory: Path) -> set[str]:
    """The files that were written with a manifest."""
    if not (directory / MANIFEST).is_file():
        return set()
    said = read_yaml(directory / MANIFEST)
    try:
        return {MANIFEST, HEADER, *(entry["file"] for key in ("memories", "replay") for entry in said[key])}
    except (KeyError, TypeError):
        return set()


def _manifest(model: PackedModel, network: list[Memory], replay: list[Memory], word_bits: int) -> dict[str, Any]:
    """What the files hold. The memories of the network have addresses as if they lay one behind the other."""
    entries, address = [], 0
    for memory in network:
        entry = _entry(memory, word_bits)
        entries.append({"file": entry.pop("file"), "address": address, **entry})
        address += entry["words"]
    return {
        "version": 1,
        "word_bits": word_bits,
        "words": address,
        "network": network_sizes(model),
        "memories": entries,
        "replay": [_entry(memory, word_bits) for memory in replay],
    }


def _entry(memory: Memory, word_bits: int) -> dict[str, Any]:
    entry = {
        "file": f"{memory.name}.hex",
        "words": -(-len(memory.numbers) * memory.bits // word_bits),
        "numbers": len(memory.numbers),
        "bits": memory.bits,
        "kind": memory.kind,
        "shape": list(memory.shape),
        "holds": memory.holds,
    }
    return {**entry, "starts": list(memory.starts)} if memory.starts else entry


# ---- C ----


def c_header(sizes: dict[str, Any], memories: list[Memory], word_bits: int) -> str:
    """The same as C99: sizes as macros, weights and indices in words, other numbers each as one number."""
    lines = [
        "/* A packed model; docs/packed_model.md of French Press describes the arithmetic. */",
        "#ifndef PRESS_MODEL_H",
        "#define PRESS_MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        *(f"#define PRESS_{name} {value}" for name, value in _macros(sizes, "")),
        "",
    ]
    for memory in memories:
        lines += [f"/* {memory.holds} */", *_c_array(memory, word_bits), ""]
    return "\n".join([*lines, "#endif"]) + "\n"


def _macros(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """Names in capitals, one for each number in nested dicts and lists; a list has one for its length too."""
    if isinstance(value, int):
        yield name.upper(), value
        return
    if isinstance(value, list):
        yield name.upper(), len(value)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _macros(inner, f"{name}_{key}" if name else key)


def _c_array(memory: Memory, word_bits: int) -> Iterator[str]:
    if memory.kind == FLOAT:
        kind, texts = "float", [f"{value.hex()}f" for value in memory.numbers.astype(float).tolist()]
    elif memory.bits not in _C_BITS:
        kind, texts = f"uint{word_bits}_t", [f"0x{word:x}u" for word in words(memory, word_bits).tolist()]
    else:
        kind = f"{'' if memory.kind == SIGNED else 'u'}int{memory.bits}_t"
        # No literal of C is as low as that.
        texts = ["INT32_MIN" if value == _INT32_MIN else str(value) for value in memory.numbers.tolist()]
    texts = texts or ["0"]
    yield f"static const {kind} press_{memory.name}[{len(texts)}] = {{"
    for start in range(0, len(texts), 8):
        yield f"    {', '.join(texts[start : start + 8])},"
    yield "};"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model.press, as frenchpress pack writes it")
    parser.add_argument("--out", type=Path, required=True, help="directory for the images")
    parser.add_argument("--word-bits", type=int, default=32, help="bits per word: 8, 16, 32 (default) or 64")
    parser.add_argument("--frames", type=int, default=20, help="frames of the utterance to replay (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the utterance (default: 0)")
    parser.add_argument("--gates", action="store_true", help="gate arguments of every frame too")
    args = parser.parse_args()
    model = read_model(args.model)
    with blaming(args.model) if model.holds else nullcontext():  # which it is that has no images
        found = write_images(model, args.out, args.word_bits, args.frames, args.seed, args.gates)
    print(f"{args.out}: {len(found['memories'])} memories, {found['words']} words of {args.word_bits} bits; ", end="")
    print(f"{args.frames} frames to replay")


if __name__ == "__main__":
    run_main(main)
