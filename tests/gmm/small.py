"""Small phone sets, trees and corpora for the tests of this room."""

import numpy as np

from frenchpress.gmm.corpus import Corpus
from frenchpress.gmm.monophone import monophone_tree
from frenchpress.gmm.treebuild import Root
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Split, Table

_ROW = [HmmState(k, ((k, 0.75), (k + 1, 0.25)), k) for k in range(3)]
TOPO = HmmTopology([[*_ROW, HmmState(-1, (), -1)]], dict.fromkeys([1, 2, 3, 4], 0))
SETS = [[phone] for phone in TOPO.phones]
ROOTS = [Root((phone,)) for phone in TOPO.phones]


def mono():
    tree = monophone_tree(TOPO, SETS)
    return tree, TransitionModel.from_tree(tree, TOPO)


def triphone_tree():
    """Phones 2, 3, 4 have other pdfs after phone 2 and before silence."""
    children = [None]
    pdf = 0
    for phone in TOPO.phones:
        leaves = [Table(STATE_KEY, tuple(Constant(pdf + 3 * k + s) for s in range(3))) for k in range(3)]
        pdf += 9
        after, before = Split(0, frozenset({2}), leaves[0], leaves[1]), leaves[2]
        children.append(leaves[0] if phone == 1 else Split(2, frozenset({1}), before, after))
    # Silence takes three of its nine numbers: renumber without holes.
    return _renumber(ContextTree(3, 1, Table(1, tuple(children))))


def triphones():
    tree = triphone_tree()
    return tree, TransitionModel.from_tree(tree, TOPO)


def _renumber(tree):
    numbers = {}

    def walk(node):
        if node is None:
            return None
        if isinstance(node, Constant):
            return Constant(numbers.setdefault(node.pdf, len(numbers)))
        if isinstance(node, Table):
            return Table(node.key, tuple(walk(child) for child in node.children))
        return Split(node.key, node.yes, walk(node.yes_node), walk(node.no_node))

    return ContextTree(tree.N, tree.P, walk(tree.root))


def corpus(num_utts=40, dim=4, seed=0, speakers=("a", "b")):
    """Utterances of phones 2-4 with silence around them; and the true phone per frame.

    Each phone and state has its own mean, the same for every seed; each speaker is off by a vector.
    """
    rng = np.random.default_rng(77)
    means = 3 * rng.normal(size=(5, 3, dim))
    offset = {speaker: rng.normal(size=dim) for speaker in speakers}
    rng = np.random.default_rng(seed)
    feats, phones, truth, who = [], [], [], []
    for k in range(num_utts):
        said = rng.integers(2, 5, rng.integers(4, 8)).tolist()
        speaker = speakers[k % len(speakers)]
        parts = []
        for phone in [1, *said, 1]:
            for state in range(3):
                length = int(rng.integers(2, 5))
                parts.append(means[phone, state] + 0.7 * rng.normal(size=(length, dim)) + offset[speaker])
                truth += [phone] * length
        feats.append(np.concatenate(parts))
        phones.append(said)
        who.append(speaker)
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in feats])])
    utts = [f"u{k:03d}" for k in range(num_utts)]
    return Corpus(utts, who, phones, offsets, np.concatenate(feats).astype(np.float32)), np.array(truth)
