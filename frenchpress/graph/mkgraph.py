"""HCLG: grammar, lexicon, phonetic context and HMMs composed and optimised into one decoding graph.

Source: Mohri, Pereira and Riley, "Speech recognition with weighted finite-state transducers", Springer Handbook of
Speech Processing, 2008, with Kaldi's conventions: input labels are transition-ids, self-loops come last.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import kaldifst

from frenchpress.common import UserError, atomic_path, digest, is_done, locked_dir, mark_done, read_lines, run_main
from frenchpress.graph.fst import FstArcs, read_fst, write_fst
from frenchpress.graph.hmm import add_self_loops, h_transducer
from frenchpress.graph.optimise import push_special, remove_epsilons_locally, remove_symbols
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import ContextTree, read_tree


@dataclass(frozen=True)
class Scales:
    """Scales of transition log-probabilities: between HMM states, and of staying in or leaving one."""

    transition: float = 1.0
    self_loop: float = 0.1


def compose_lg(lexicon: kaldifst.StdVectorFst, grammar: kaldifst.StdVectorFst) -> kaldifst.StdVectorFst:
    """LG, determinized in the log semiring, minimized, weights pushed so that every state sums to the same."""
    kaldifst.arcsort(lexicon, "olabel")
    kaldifst.arcsort(grammar, "ilabel")
    lg = _determinize(kaldifst.compose(lexicon, grammar), "lexicon and grammar")
    kaldifst.minimize_encoded(lg)
    lg = push_special(FstArcs.of(lg)).build()
    kaldifst.arcsort(lg, "ilabel")
    return lg


def compose_hclg(
    lg: kaldifst.StdVectorFst,
    phone_disambig: list[int],
    tree: ContextTree,
    model: TransitionModel,
    scales: Scales = Scales(),  # noqa: B008 (frozen)
) -> kaldifst.StdVectorFst:
    """The decoding graph from LG, whose phone disambiguation symbols are given."""
    clg, windows = kaldifst.compose_context(phone_disambig, tree.N, tree.P, lg)
    kaldifst.arcsort(clg, "ilabel")
    h = h_transducer(windows, tree, model, scales.transition)
    hclg = _determinize(kaldifst.compose(h, clg), "graph")
    arcs = remove_epsilons_locally(remove_symbols(FstArcs.of(hclg), model.num_tids))
    hclg = arcs.build()
    kaldifst.connect(hclg)
    kaldifst.minimize_encoded(hclg)
    hclg = add_self_loops(FstArcs.of(hclg), model, scales.self_loop).build()
    kaldifst.arcsort(hclg, "ilabel")
    return hclg


def _determinize(fst: kaldifst.StdVectorFst, what: str) -> kaldifst.StdVectorFst:
    if kaldifst.determinize_star(fst, use_log=True):
        raise UserError(f"{what}: cannot be determinized; are there words with the same pronunciation in it?")
    if not fst.num_states:
        raise UserError(f"{what}: empty; do the word and phone tables of lexicon, grammar and model belong together?")
    return fst


def make_graph(lang: Path | str, model_dir: Path | str, out: Path | str, scales: Scales = Scales()) -> bool:  # noqa: B008
    """Write out/{HCLG.fst,words.txt,phones.txt}; False when they are there already for these inputs.

    `lang` holds L_disambig.fst, G.fst, phones/disambig.int and the tables, `model_dir` final.mdl and tree.
    """
    lang, model_dir, out = Path(lang), Path(model_dir), Path(out)
    inputs = [lang / name for name in ("L_disambig.fst", "G.fst", "words.txt", "phones.txt", "phones/disambig.int")]
    inputs += [model_dir / "final.mdl", model_dir / "tree"]
    for path in inputs:
        if not path.is_file():
            raise UserError(f"{path}: no such file; a graph needs a lang directory and a trained model")
    key = {"tool": "mkgraph", "inputs": digest(*inputs), "scales": [scales.transition, scales.self_loop]}
    with locked_dir(out):
        if is_done(out, key):
            return False
        mark_done(out, {})  # until all is written, whole for nothing
        lg = compose_lg(read_fst(inputs[0]), read_fst(inputs[1]))
        disambig = [int(line) for line in read_lines(inputs[4]) if line.strip()]
        hclg = compose_hclg(lg, disambig, read_tree(inputs[6]), read_model(inputs[5])[0], scales)
        write_fst(out / "HCLG.fst", hclg)
        for name in ("words.txt", "phones.txt"):
            with atomic_path(out / name) as temporary:
                shutil.copyfile(lang / name, temporary)
        mark_done(out, key)
    return True


def main() -> None:
    """Command line of `make_graph`."""
    parser = argparse.ArgumentParser(description="Decoding graph HCLG.fst of a model with a lang directory.")
    parser.add_argument("--lang", type=Path, required=True, help="lang directory with L_disambig.fst and G.fst")
    parser.add_argument("--model", type=Path, required=True, help="directory with final.mdl and tree")
    parser.add_argument("--out", type=Path, required=True, help="directory for HCLG.fst, words.txt, phones.txt")
    parser.add_argument("--transition-scale", type=float, default=1.0, help="of transitions between states (1.0)")
    parser.add_argument("--self-loop-scale", type=float, default=0.1, help="of staying in a state or not (0.1)")
    args = parser.parse_args()
    scales = Scales(args.transition_scale, args.self_loop_scale)
    if not make_graph(args.lang, args.model, args.out, scales):
        print(f"{args.out} is up to date")


if __name__ == "__main__":
    run_main(main)
