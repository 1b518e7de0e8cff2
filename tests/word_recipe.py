"""A small s5 directory of a word recipe, laid out as Kaldi leaves one, and graphs of words.

Phones say where in a word they stand; silence is optional around words; `<UNK>` and `!SIL` are words of their own.
"""

import math
from collections import Counter
from pathlib import Path

import kaldifst
import numpy as np

from frenchpress.graph.bigram import estimate, grammar_fst
from frenchpress.graph.fst import arcs_from_rows, write_fst
from frenchpress.graph.mkgraph import compose_hclg, compose_lg
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, write_model
from frenchpress.kaldi.io import write_int_vectors, write_mats
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import Constant, ContextTree, Table

LEXICON = {
    "!SIL": "SIL",
    "<UNK>": "SPN",
    "a": "a_S",
    "ab": "a_B b_E",
    "abb": "a_B b_I b_E",
    "ba": "b_B a_E",
    "cab": "c_B a_I b_E",
    "kab": "c_B a_I b_E",
}
PHONES = ["SIL", "SPN", "a_B", "a_E", "a_I", "a_S", "b_B", "b_E", "b_I", "c_B"]
OOV = "zebra"
"""A word of the references alone; it sounds like noise."""
STATES, DIM = 2, 10


def word_lexicon(lexicon, phones, words, silence, sil_prob=0.5):
    """L with disambiguation symbols, and their ids: each pronunciation ends with one, counted among homophones.

    `lexicon`: pairs of a word and its phones. `phones`, `words`: names to ids.
    """
    top, homophones = max(phones.values()) + 1, Counter()
    without, having = -math.log(1 - sil_prob), -math.log(sil_prob)
    start, home, pause, after = range(4)
    arcs = [(start, 0, 0, without, home), (start, 0, 0, having, pause), (pause, phones[silence], 0, 0.0, after)]
    arcs += [(after, top + 1, 0, 0.0, home), (home, top, words["#0"], 0.0, home)]
    state = after
    for word, said in lexicon:
        homophones[tuple(said)] += 1
        last, label = home, words[word]
        for phone in said:
            state += 1
            arcs.append((last, phones[phone], label, 0.0, state))
            last, label = state, 0
        mark = top + 1 + homophones[tuple(said)]
        arcs += [(last, mark, 0, without, home), (last, mark, 0, having, pause)]
    finals = np.full(state + 1, np.inf, np.float32)
    finals[home] = 0.0
    return arcs_from_rows(start, finals, arcs).build(), [*range(top, top + 2 + max(homophones.values()))]


def word_graph(lexicon, sentences, phones, words, silence, tree, model):
    """HCLG of a lexicon and a bigram over `sentences`."""
    lexicon_fst, disambig = word_lexicon(lexicon, phones, words, silence)
    grammar = grammar_fst(estimate(sentences, {word for word, _ in lexicon}), words)
    kaldifst.arcsort(lexicon_fst, "olabel")
    return compose_hclg(compose_lg(lexicon_fst, grammar), disambig, tree, model)


def symbols(names):
    """Names to ids from 0."""
    return {name: number for number, name in enumerate(names)}


def write_symbols(path: Path, table) -> None:
    path.write_text("".join(f"{name} {number}\n" for name, number in table.items()))


def hmms():
    """A monophone tree and its transition model: a tied state per state of a phone."""
    leaves = [Table(-1, tuple(Constant(STATES * p + c) for c in range(STATES))) for p in range(len(PHONES))]
    tree = ContextTree(1, 0, Table(0, (None, *leaves)))
    states = [HmmState(i, ((i, 0.5), (i + 1, 0.5)), i) for i in range(STATES)]
    topology = HmmTopology([[*states, HmmState(-1, (), -1)]], {p + 1: 0 for p in range(len(PHONES))})
    return tree, TransitionModel.from_tree(tree, topology)


def utterance(random, words, model):
    """Transition-ids of words that are said one after the other, between silences that may not be there."""
    loop = {int(model.tid2pdf[t]): t for t in range(1, model.num_tids + 1) if model.tid2is_self_loop[t]}
    leave = {int(model.tid2pdf[t]): t for t in range(1, model.num_tids + 1) if not model.tid2is_self_loop[t]}
    phones = ["SIL"]
    for word in words:
        phones += [*LEXICON.get(word, "SPN").split(), *["SIL"] * random.integers(0, 2)]
    tids = []
    for phone in phones:
        for pdf in range(STATES * PHONES.index(phone), STATES * PHONES.index(phone) + STATES):
            tids += [leave[pdf], *[loop[pdf]] * random.integers(1, 4)]
    return np.array(tids, np.int32)


def make_s5(root: Path, seed: int = 0) -> Path:
    """Write data, data-fmllr-tri3, exp/tri3_ali_*, exp/tri3/graph; a word of train and of dev is not in the graph."""
    random, (tree, model) = np.random.default_rng(seed), hmms()
    gmm = AmGmm([DiagGmm(np.ones(1), np.zeros((1, DIM)), np.ones((1, DIM)))] * (STATES * len(PHONES)))
    means = 3 * random.normal(size=(STATES * len(PHONES), DIM))
    spoken, sentences = ["a", "ab", "abb", "ba", "cab"], []  # never kab, which sounds like cab
    for split, count in (("train", 40), ("dev", 8), ("test", 6)):
        said = {f"s{n % 2}-{split}{n:02}": list(random.choice(spoken, random.integers(2, 6))) for n in range(count)}
        if split != "test":
            said[f"s0-{split}00"][0] = OOV
        if split == "train":
            sentences = [[word if word in LEXICON else "<UNK>" for word in words] for words in said.values()]
        tids = {utt: utterance(random, words, model) for utt, words in sorted(said.items())}
        feats = {u: (means[model.tid2pdf[t]] + random.normal(size=(len(t), DIM))) for u, t in tids.items()}
        place, ali = root / "data-fmllr-tri3" / split, root / f"exp/tri3_ali_{split}"
        for directory in (place, ali, root / "data" / split):
            directory.mkdir(parents=True)
        write_mats(place / "feats.ark", place / "feats.scp", ((u, m.astype(np.float32)) for u, m in feats.items()))
        (place / "utt2spk").write_text("".join(f"{utt} {utt[:2]}\n" for utt in tids))
        (root / "data" / split / "text").write_text("".join(f"{u} {' '.join(said[u])}\n" for u in tids))
        write_int_vectors(ali / "ali.1.gz", tids)
        write_model(ali / "final.mdl", model, gmm)
    lang, graph = root / "data/lang", root / "exp/tri3/graph"
    (lang / "phones").mkdir(parents=True)
    graph.mkdir(parents=True)
    phones, words = symbols(["<eps>", *PHONES]), symbols(["<eps>", *LEXICON, "#0", "<s>", "</s>"])
    write_symbols(lang / "phones.txt", phones | {"#0": len(phones), "#1": len(phones) + 1})
    (lang / "phones/silence.txt").write_text("SIL\nSPN\n")
    write_symbols(graph / "words.txt", words)
    entries = [(word, said.split()) for word, said in LEXICON.items()]
    write_fst(graph / "HCLG.fst", word_graph(entries, sentences, phones, words, "SIL", tree, model))
    return root
