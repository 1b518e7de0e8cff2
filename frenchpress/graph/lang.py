"""The lang directory: symbol tables, HMM topology, lexicon and grammar transducers, from data/dict and a text."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, digest, is_done, locked_dir, mark_done, read_lines, run_main
from frenchpress.common.files import atomic_path
from frenchpress.graph.bigram import estimate_bigram, grammar_fst, read_arpa
from frenchpress.graph.fst import write_fst
from frenchpress.graph.lexicon import lexicon_fst
from frenchpress.kaldi.scp import read_table
from frenchpress.kaldi.topology import HmmState, HmmTopology, write_topology

RESERVED = ("<eps>", "<s>", "</s>", "#0", "#1")
UNKNOWN = "<UNK>"


@dataclass(frozen=True)
class Dict:
    """A checked data/dict: phones in the order of their ids, and how silence behaves.

    With `sil_prob` 0 silence is a word like the other phones, otherwise it is optional around every word.
    """

    silence: str
    nonsilence: tuple[str, ...]
    sil_prob: float
    questions: tuple[tuple[str, ...], ...]
    score_map: tuple[str, ...]

    @property
    def phones(self) -> tuple[str, ...]:
        """Silence, then the others in the C locale's order."""
        return (self.silence, *self.nonsilence)

    @property
    def words(self) -> dict[str, str]:
        """The phone of each word: every phone is a word, silence under the name of the unknown if it is optional."""
        if self.sil_prob > 0:
            return {UNKNOWN: self.silence, **{p: p for p in self.nonsilence}}
        return {p: p for p in sorted(self.phones)}


def read_dict(directory: Path | str) -> Dict:
    """Read and check data/dict."""
    directory = Path(directory)
    silence = _column(directory / "silence_phones.txt")
    nonsilence = _column(directory / "nonsilence_phones.txt")
    optional = _column(directory / "optional_silence.txt")
    if len(silence) != 1 or optional != silence:
        raise UserError(
            f"{directory}: silence_phones.txt has '{' '.join(silence)}', optional_silence.txt "
            f"'{' '.join(optional)}'; expected the same single phone in both"
        )
    for phone in [*silence, *nonsilence]:
        if phone in (*RESERVED, UNKNOWN):
            raise UserError(f"{directory}: a phone cannot be called {phone!r}, the name is taken; rename it")
    if silence[0] in nonsilence:
        raise UserError(f"{directory}: {silence[0]} is both silence and not; take it out of nonsilence_phones.txt")
    phones = [*silence, *sorted(nonsilence)]
    questions = _questions(directory / "extra_questions.txt", phones)
    score_map = tuple(_score_map(directory / "score_map.txt", phones))
    return Dict(silence[0], tuple(phones[1:]), _probability(directory / "sil_prob"), questions, score_map)


def _column(path: Path) -> list[str]:
    """A file of one phone per line, none twice."""
    phones: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 1:
            raise UserError(f"{path}:{number}: {line.strip()!r}, expected one phone per line")
        if fields[0] in phones:
            raise UserError(f"{path}:{number}: phone {fields[0]} is there twice")
        phones.append(fields[0])
    if not phones:
        raise UserError(f"{path}: is empty, expected one phone per line")
    return phones


def _probability(path: Path) -> float:
    text = " ".join(read_lines(path)).strip()
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UserError(f"{path}: {text!r}, expected a probability of silence, at least 0 and below 1")
    return value


def _questions(path: Path, phones: list[str]) -> tuple[tuple[str, ...], ...]:
    """Questions for the decision tree: silence, the rest, and those of the optional file."""
    questions = [tuple(phones[:1]), tuple(phones[1:])]
    for number, line in enumerate(read_lines(path) if path.exists() else [], 1):
        question = tuple(line.split())
        unknown = [p for p in question if p not in phones]
        if unknown:
            raise UserError(f"{path}:{number}: {unknown[0]} is no phone of this dictionary")
        if question and sorted(question) not in [sorted(q) for q in questions]:
            questions.append(question)
    return tuple(questions)


def _score_map(path: Path, phones: list[str]) -> list[str]:
    table = read_table(path)
    for phone, scored in table.items():
        if len(scored.split()) > 1:
            raise UserError(f"{path}: {phone} maps to {scored!r}, expected one phone, or none to leave it out")
    missing = [p for p in phones if p not in table]
    if missing:
        raise UserError(f"{path}: no line for phone {missing[0]}; expected every phone, '{missing[0]} <scored as>'")
    return [f"{phone} {scored}".strip() for phone, scored in table.items()]


def topology(num_phones: int) -> HmmTopology:
    """Three states from left to right; silence (phone 1) moves on faster out of its first two."""

    def entry(loops: tuple[float, ...]) -> list[HmmState]:
        states = [HmmState(i, ((i, p), (i + 1, 1 - p)), i) for i, p in enumerate(loops)]
        return [*states, HmmState(-1, (), -1)]

    others = {phone: 0 for phone in range(2, num_phones + 1)}
    return HmmTopology([entry((0.75, 0.75, 0.75)), entry((0.5, 0.5, 0.75))], {**others, 1: 1})


def make_lang(dict_dir: Path | str, text: Path | str, out: Path | str) -> bool:
    """Write the lang directory; False when `out` already is that of this dictionary and text."""
    out = Path(out)
    data = read_dict(dict_dir)
    sentences = _sentences(Path(text), data)
    key = {"tool": "lang", "dict": repr(data), "text": digest(text)}
    with locked_dir(out):
        if is_done(out, key):
            return False
        mark_done(out, {})  # until all is written, whole for nothing
        _write_tables(data, out)
        _write_phone_lists(data, out / "phones")
        _write_transducers(data, sentences, out)
        mark_done(out, key)
    return True


def _sentences(text: Path, data: Dict) -> list[list[str]]:
    words = set(data.words) - {UNKNOWN}
    sentences = []
    for utterance, rest in read_table(text).items():
        sentence = rest.split()
        for word in sentence:
            if word not in words:
                raise UserError(f"{text}: {utterance}: unknown phone {word!r}; data/dict has {_short(sorted(words))}")
        sentences.append(sentence)
    if not sentences:
        raise UserError(f"{text}: is empty, expected an utterance id and its phones per line")
    return sentences


def _write_tables(data: Dict, out: Path) -> None:
    phones = ["<eps>", *data.phones, *RESERVED[3:]]
    words = ["<eps>", *data.words, "#0", "<s>", "</s>"]
    _write(out / "phones.txt", [f"{p} {i}" for i, p in enumerate(phones)])
    _write(out / "words.txt", [f"{w} {i}" for i, w in enumerate(words)])
    unknown = UNKNOWN if data.sil_prob > 0 else data.silence
    _write(out / "oov.txt", [unknown])
    _write(out / "oov.int", [str(words.index(unknown))])
    _write(out / "score_map.txt", list(data.score_map))
    write_topology(out / "topo", topology(len(data.phones)))


def _write_phone_lists(data: Dict, out: Path) -> None:
    ids = {p: i for i, p in enumerate(["<eps>", *data.phones, *RESERVED[3:]])}
    lists: dict[str, list[tuple[str, ...]]] = {
        "silence": [(data.silence,)],
        "optional_silence": [(data.silence,)],
        "context_indep": [(data.silence,)],
        "nonsilence": [(p,) for p in data.nonsilence],
        "sets": [(p,) for p in data.phones],
        "extra_questions": list(data.questions),
        "disambig": [(p,) for p in RESERVED[3:]],
    }
    for name, rows in lists.items():
        _write(out / f"{name}.txt", [" ".join(row) for row in rows])
        _write(out / f"{name}.int", [" ".join(str(ids[p]) for p in row) for row in rows])
    _write(out / "roots.txt", [f"shared split {p}" for p in data.phones])
    _write(out / "roots.int", [f"shared split {ids[p]}" for p in data.phones])


def _write_transducers(data: Dict, sentences: list[list[str]], out: Path) -> None:
    phones, words = read_symbols(out / "phones.txt"), read_symbols(out / "words.txt")
    entries = [(words[w], phones[p]) for w, p in data.words.items()]
    silence = phones[data.silence]
    write_fst(out / "L.fst", lexicon_fst(entries, silence, data.sil_prob))
    marks = (phones["#0"], words["#0"], phones["#1"])
    write_fst(out / "L_disambig.fst", lexicon_fst(entries, silence, data.sil_prob, marks))
    _write(out / "lm.arpa", estimate_bigram(sentences, set(words) & set(data.phones)).splitlines())
    # From the file, so that G says exactly what was written out.
    write_fst(out / "G.fst", grammar_fst(read_arpa(out / "lm.arpa"), words))


def read_symbols(path: Path | str) -> dict[str, int]:
    """A symbol table: one `symbol id` per line."""
    table = {}
    for symbol, number in read_table(path).items():
        if not number.isdigit():
            raise UserError(f"{path}: {symbol} has id {number!r}, expected a number")
        table[symbol] = int(number)
    return table


def _write(path: Path, lines: list[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _short(names: list[str]) -> str:
    return " ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def main() -> None:
    """Command line of `make_lang`."""
    parser = argparse.ArgumentParser(description="Lang directory from data/dict and the training text.")
    parser.add_argument("dict", type=Path, help="data/dict: phone lists, sil_prob, score_map.txt")
    parser.add_argument("text", type=Path, help="training transcripts in phones, for the bigram")
    parser.add_argument("out", type=Path, help="lang directory to make")
    args = parser.parse_args()
    if not make_lang(args.dict, args.text, args.out):
        print(f"{args.out} is up to date")


if __name__ == "__main__":
    run_main(main)
