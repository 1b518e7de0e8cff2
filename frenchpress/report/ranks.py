"""Which ranks the matrices of a trained model have in effect: `frenchpress ranks exp/<name>`.

Of each matrix: the least rank whose best approximation has a share of its energy, the sum of squares of its weights,
and the share of the weights that two factors of that rank have. Trains nothing. Below it stands what a `.cfg` says to
train such a model from this one (docs/structures.md).
"""

from __future__ import annotations

from frenchpress.arguments import parse
from frenchpress.common import run_main
from frenchpress.compress import rank_of_energy
from frenchpress.compress.weight import PressedTensor, pressed_tensors
from frenchpress.nnet.model import load_model
from frenchpress.report.markdown import markdown


def ranks(tensor: PressedTensor, energies: list[float]) -> list[int]:
    """The rank of a matrix, as the model multiplies with it, for each share of its energy."""
    seen = tensor.chain.press_matrix(tensor.matrix.detach())
    return [rank_of_energy(seen, energy) for energy in energies]


def said(tensor: PressedTensor, rank: int) -> tuple[str, str]:
    """Layer of a `.cfg`, and what is said there for two factors of `rank`; nothing where these would save nothing."""
    rows, columns = tensor.chain.shape
    parts = tensor.name.split(".")
    text = f"{{factors: {{rank: {rank}}}}}" if rank * (rows + columns) < rows * columns else ""
    if parts[0] == "lstm":
        return parts[1], f"{parts[2].removesuffix('_matrix')}: {text}" if text else ""
    return parts[0], text[1:-1]


def main() -> None:
    """Command line."""
    arguments = parse("ranks")
    tensors = pressed_tensors(load_model(arguments.experiment))
    head = ["matrix", "shape", *(part for e in arguments.energy for part in (f"rank, {e:g}", "weights"))]
    rows, layers = [], {}
    for tensor in tensors:
        out, in_ = tensor.chain.shape
        found = ranks(tensor, arguments.energy)
        rows.append([tensor.name, f"{out} x {in_}"])
        rows[-1] += [cell for r in found for cell in (str(r), f"{100 * r * (out + in_) / (out * in_):.0f} %")]
        layer, text = said(tensor, found[-1])
        layers.setdefault(layer, []).extend([text] if text else [])
    print(*markdown(head, rows), sep="\n")
    print(f"\ncompress:   # {arguments.energy[-1]:g} of the energy of each matrix that gets smaller by it")
    for layer, texts in layers.items():
        print(f"  {layer}: {{{', '.join(texts)}}}")


if __name__ == "__main__":
    run_main(main)
