"""Make a smaller dense model of one whose cells were removed: `frenchpress shrink exp/x exp/y`.

Of a model that was trained with `mask: {method: cell}` the removed cells are taken out: rows, columns, biases and batch
norm. What is written says the same as the model did, has no mask left, and can be decoded, packed, or trained on
(`train.init: y` in a `.cfg` with as many cells).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frenchpress.arguments import parse
from frenchpress.common import UserError, atomic_dir, blaming, read_yaml, run_main
from frenchpress.compress import pressed_tensors
from frenchpress.compress.size import size_report
from frenchpress.config import config_from_dict, config_to_dict, config_to_yaml
from frenchpress.nnet import checkpoint
from frenchpress.nnet.lstm import GATES
from frenchpress.nnet.model import FINAL, AcousticModel, load_model
from frenchpress.nnet.units import is_cell_plan


def kept_cells(model: AcousticModel) -> dict[str, Tensor]:
    """Of each LSTM layer by name, which of its cells are kept, bool [cells]; UserError where a model of one number of
    cells cannot have these.
    """
    kept = {}
    for name, layer in model.lstm.items():
        matrix = layer.recurrent_matrix
        kept[name] = matrix.mask.any(1) if is_cell_plan(matrix.plan) else torch.ones(layer.cells, dtype=torch.bool)
    counts = {name: int(cells.sum()) for name, cells in kept.items()}
    if not any(is_cell_plan(layer.recurrent_matrix.plan) for layer in model.lstm.values()):
        raise UserError("no cells are removed; train with mask: {method: cell, ...} in the LSTM layers first")
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} keeps {count}" for name, count in counts.items())
        raise UserError(f"{said}; all layers of a model have equally many cells: use one keep for lstm*")
    return kept


@torch.no_grad()
def shrink(model: AcousticModel) -> AcousticModel:
    """The model without its removed cells; UserError where there are none, or where a quantizer would then round the
    weights that are left to other values.
    """
    kept = kept_cells(model)
    small = AcousticModel(config_from_dict(_smaller(model, kept), "shrink"), model.sizes)
    rows, columns = _places(model, kept)
    small.load_state_dict(
        {name: _cut(model.state_dict()[name], like, name, rows, columns) for name, like in small.state_dict().items()}
    )
    large = {p.name: p for p in pressed_tensors(model)}
    for p in pressed_tensors(small):
        whole = large[p.name].chain.press_matrix(large[p.name].matrix)
        if not torch.equal(p.chain.press_matrix(p.matrix), _cut(whole, p.matrix, p.name, rows, columns)):
            raise UserError(f"{p.name}: quantizer {p.chain.press.quantizer} rounds what is left to other values")
    return small.eval()


def _smaller(model: AcousticModel, kept: dict[str, Tensor]) -> dict[str, Any]:
    """The configuration of the model with fewer cells, and without the masks that remove them."""
    values = config_to_dict(model.config)
    values["model"]["lstm"]["cells"] = int(next(iter(kept.values())).sum())
    for entry in values["compress"].values():
        if (entry.get("mask") or {}).get("method") == "cell":
            del entry["mask"]
    return values


def _places(model: AcousticModel, kept: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By the beginning of a tensor's name: which of its rows and columns are kept, bool."""
    names, every = list(model.lstm), list(kept.values())
    rows = {f"lstm.{name}.": cells.repeat(GATES) for name, cells in kept.items()}
    columns = {f"lstm.{name}.recurrent_matrix": cells for name, cells in kept.items()}
    columns |= {f"lstm.{name}.input_matrix": cells for name, cells in zip(names[1:], every)}
    return rows, columns | {"head_cd.matrix": every[-1], "head_mono.matrix": every[-1]}


def _cut(value: Tensor, like: Tensor, name: str, rows: dict[str, Tensor], columns: dict[str, Tensor]) -> Tensor:
    """`value` without what was removed, of the shape of `like`."""
    for dim, places in enumerate((rows, columns)):
        if value.dim() > dim and value.shape[dim] != like.shape[dim]:
            cells = next(cells for start, cells in places.items() if name.startswith(start))
            value = value.index_select(dim, cells.nonzero().squeeze(1))
    return value


def shrink_experiment(place: Path, out: Path) -> AcousticModel:
    """Write the experiment in `place` without its removed cells as `out`, whole; UserError where that is there."""
    if out.exists():
        raise UserError(f"{out}: is there already; give another name")
    with blaming(place):
        small = shrink(load_model(place))
    summary = {**read_yaml(place / checkpoint.SUMMARY), "shrunk_from": str(place)}
    header = [f"# {what} {whole}\n" for what, whole in checkpoint.read_header(place / checkpoint.CONFIG).items()]
    content = {"config": config_to_dict(small.config), "sizes": small.description(), "model": small.state_dict()}
    with atomic_dir(out) as work:
        checkpoint.write_tensors(work / FINAL, content)
        checkpoint.write_bytes(work / checkpoint.CONFIG, ("".join(header) + config_to_yaml(small.config)).encode())
        checkpoint.write_yaml(work / "size.yaml", size_report(small, small.constants))
        checkpoint.write_yaml(work / checkpoint.SUMMARY, summary)
    return small


def main() -> None:
    """Command line."""
    args = parse("shrink")
    small = shrink_experiment(args.experiment, args.out)
    stored = size_report(small, small.constants)["stored_bytes"] / 1e6
    print(f"{args.out}: {small.config.model.lstm.cells} cells a layer, {stored:.3f} MB")


if __name__ == "__main__":
    run_main(main)
