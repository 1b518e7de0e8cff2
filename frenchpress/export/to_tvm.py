"""Compile a model with TVM: `frenchpress to-tvm exp/x`, or `... exp/x/model.press`.

A packed model is compiled with its integers: a file, or model.press in the directory. A directory without one has its
trained model compiled in float32. For each matrix the format of least cost is taken, and printed with what the others
would cost (cycles, estimated). Where a packed delta network holds back what the matrix reads, one of them is `columns`,
which multiplies with what moved alone. The library is compared with the model before it is written.
docs/sparsity_flow.md describes it all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from frenchpress.common import UserError, atomic_path, blaming, run_main
from frenchpress.export.compiler.formats import KINDS, MOVED
from frenchpress.export.pack import PACKED
from frenchpress.export.packages import require_tvm
from frenchpress.nnet.model import AcousticModel, load_model
from frenchpress.packed import reference
from frenchpress.packed.format import parse_model, read_file
from frenchpress.packed.model import PackedModel

if TYPE_CHECKING:
    from frenchpress.export.compiler.module import Library
    from frenchpress.export.compiler.network import Network

LIBRARY = "model.so"
_FRAMES = 50
_TOLERANCE = 1e-5


def _read(path: Path) -> PackedModel | AcousticModel:
    packed = path / PACKED if path.is_dir() else path
    return parse_model(read_file(packed), str(packed)) if packed.exists() or not path.is_dir() else load_model(path)


def network_of(model: PackedModel | AcousticModel) -> Network:
    """What is compiled of it."""
    from frenchpress.export.compiler.network import of_packed, of_trained

    return of_packed(model) if isinstance(model, PackedModel) else of_trained(model.eval())


def difference(model: PackedModel | AcousticModel, library: Library, seed: int = 0) -> float:
    """The largest between logits of a packed model and its library, or of log posteriors of a trained one and its."""
    draw = np.random.default_rng(seed).normal(0, 1, (_FRAMES, library.about["dim"]))
    if isinstance(model, PackedModel):
        # Features as they are meant: of deviation 1 after normalisation, on a grid of about 8 deviations.
        x = model.input
        feats = (draw * 2 ** (x.bits - 4) / x.gain + x.mean).astype(np.float32)
        wide = (library.logits(feats)["head_cd"].astype(np.int64), reference.run(model, feats).astype(np.int64))
        return float(np.abs(wide[0] - wide[1]).max())
    dim = library.about["dim"]
    feats = (draw / model.input_scale[:dim].numpy() + model.input_mean[:dim].numpy()).astype(np.float32)
    found = torch.from_numpy(library.logits(feats)["head_cd"]).log_softmax(-1)
    with torch.no_grad():
        return float((found - model.log_posteriors(torch.from_numpy(feats))).abs().max())


def _compared(model: PackedModel | AcousticModel, library: Library) -> str:
    found = difference(model, library)
    if not isinstance(model, PackedModel):
        # Where activations are rounded, a last bit may decide to which side.
        within = "within" if found <= _TOLERANCE else "above"
        return f"log posteriors differ by {found:.1e}, {within} {_TOLERANCE:g} ({_FRAMES} random frames)"
    if found:
        raise UserError(f"the library is wrong: logits differ by {found:g} from packed/reference.py")
    return f"logits equal packed/reference.py to the bit ({_FRAMES} random frames)"


def _write_cuda(model: PackedModel | AcousticModel, kinds: list[str], arch: str, out: Path) -> None:
    from frenchpress.export.compiler.module import cuda_source

    source = cuda_source(network_of(model), arch, kinds)
    with atomic_path(out) as temporary:
        temporary.write_text(source, encoding="utf-8")
    print(f"{out}: CUDA source for {arch}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exp/x, with a packed or trained model in it, or a model.press")
    parser.add_argument("--out", type=Path, help=f"the library (default: {LIBRARY} beside the model)")
    parser.add_argument("--formats", nargs="+", choices=KINDS, default=KINDS, help="formats to choose from (all)")
    moved = f"delta networks: share of columns that is taken to move in a frame ({MOVED}; frenchpress movement says it)"
    parser.add_argument("--moved", metavar="SHARE", type=float, default=MOVED, help=moved)
    parser.add_argument("--cuda", metavar="ARCH", help="write CUDA source instead (model.cu), e.g. for sm_80")
    args = parser.parse_args()
    if not 0 <= args.moved <= 1:
        raise UserError(f"--moved {args.moved:g}: a share of columns, from 0 to 1")
    require_tvm()
    from frenchpress.export.compiler.module import Library, compile_network

    model = _read(args.model)
    home = args.model if args.model.is_dir() else args.model.parent
    with blaming(args.model):
        if args.cuda:
            _write_cuda(model, args.formats, args.cuda, args.out or home / "model.cu")
            return
        compiled = compile_network(network_of(model), args.formats, moved=args.moved)
        for choice in compiled.choices:
            print(choice)
        print(_compared(model, Library(compiled.executable)))
        out = args.out or home / LIBRARY
        compiled.save(out)
    arithmetic = "integers of the packed model" if isinstance(model, PackedModel) else "float32 of the trained model"
    print(f"{out}: {out.stat().st_size} bytes, {arithmetic}")


if __name__ == "__main__":
    run_main(main)
