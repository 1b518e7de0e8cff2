"""Sentences out of templates, word lists and made-up names.

A sentence is a template whose slots are filled at random. Made-up names (`Doctor Grenwick of Stoalby`) keep a
recogniser with a long memory from learning a closed vocabulary by heart.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from timit.synth import lexicon

SA = (
    "Your brother found a dark jug of oily water on the garage shelf.",
    "Bring us the yellow measure that she thought the boy had lost.",
)
"""The two sentences that every speaker reads."""

COVERAGE = (
    "A better boy put butter and bitter water on the usual table.",
    "The sudden noise of the oyster boat frightened a kitten and a thin child.",
    "Both of them enjoyed a casual measure of southern cheese.",
    "How could you put a beige button on the long woollen garage coat?",
    "The judge thought a vision of treasure was a joyful thing.",
    "Each yellow church bell in the town is worth thousands.",
    "Hidden gardens and loud fountains bring pleasure to young people.",
    "They could not avoid the collision of two huge cars in the south.",
)
"""With these, the first speakers of train have every phone in them, whatever the seed."""

_LISTS = {
    "N": lexicon.NOUN,
    "Ns": lexicon.PLURAL,
    "M": lexicon.MASS,
    "A": lexicon.ADJECTIVE,
    "V": lexicon.VERB_PAST,
    "Vb": lexicon.VERB_BASE,
    "I": lexicon.INTRANSITIVE,
    "R": lexicon.ADVERB,
    "P": lexicon.PREPOSITION,
    "D": lexicon.DETERMINER,
    "Ds": lexicon.PLURAL_DETERMINER,
    "W": lexicon.PRONOUN,
    "X": lexicon.PERSON,
    "T": lexicon.TITLE,
    "When": lexicon.TIME,
}

# Slots are in braces; {Z} is a made-up name. Templates that come twice are twice as likely.
_TEMPLATES = """
{D} {A} {N} {V} {D} {N} {P} {D} {N}
{D} {A} {N} {V} {Ds} {A} {Ns}
{X} {V} {D} {A} {N} {When}
{When}, {X} {V} {Ds} {Ns} {P} {D} {N}
{T} {Z} {V} {D} {N} {R}
{T} {Z} of {Z} {I} {P} {D} {A} {N}
{Ds} {A} {Ns} {I} {P} {Z}
{X} and {X} {I} {R} {P} {D} {N}
Did {X} {Vb} {D} {N} {P} {Z}
Please {Vb} {D} {A} {N}, and {Vb} {Ds} {Ns}
{W} {V} {M} and {M} for {D} {N}
Why should {W} {Vb} {D} {A} {N} {When}
Nobody could {Vb} {Ds} {Ns}, but {X} {I}
{D} {N} of {Z} {V} {M} {When}
Would you {Vb} {D} {N} with {A} {M}
{A} {M} and {A} {Ns} {V} {D} {N}
{X} {Z} never {V} {D} {N}
{D} {N} {I}, {D} {N} {I}, and {X} {V} {D} {N}
There is {A} {M} {P} {D} {A} {N}
{W} thought {D} {N} was {A} and {A}
How {A} {Ds} {Ns} of {Z} are
{Z} and {Z} are {A} places {P} {D} {N}
They say that {T} {Z} {V} {Ds} {Ns}
{R}, {D} {N} {I} {P} {A} {M}
If {W} {V} {D} {N}, {X} would {Vb} {M}
{X} {V} {X} {P} {D} {A} {N}
We usually {Vb} {A} {Ns} {P} {Z}
Choose {D} {A} {N} or {D} {A} {N}
{X} was {A}, so {W} {V} {D} {N} {R}
{D} {N} {P} {Z} {V} {T} {Z}
""".strip().splitlines()


def sentences(seed: int) -> Iterator[str]:
    """An endless stream of sentences, no two alike, the same for the same seed."""
    rng = Random(f"sentences/{seed}")
    seen = {*SA, *COVERAGE}
    while True:
        text = _fill(rng, _pick(rng, _TEMPLATES))
        if text not in seen:
            seen.add(text)
            yield text


def words(text: str) -> list[str]:
    """The words of a sentence in lower case, as TIMIT's .WRD has them."""
    return [word.strip(".,?").lower() for word in text.split()]


def _fill(rng: Random, template: str) -> str:
    parts = []
    for token in template.split():
        slot, comma = token.rstrip(","), "," if token.endswith(",") else ""
        word = slot if not slot.startswith("{") else _slot(rng, slot[1:-1])
        parts.append(word + comma)
    text = _articles(" ".join(parts))
    question = text.split()[0] in ("Did", "Would", "Why")
    return text[0].upper() + text[1:] + ("?" if question else ".")


def _slot(rng: Random, name: str) -> str:
    return _name(rng) if name == "Z" else _pick(rng, _LISTS[name])


def _articles(text: str) -> str:
    """`a` before a vowel letter becomes `an`."""
    tokens = text.split()
    for i in range(len(tokens) - 1):
        if tokens[i] in ("a", "A") and tokens[i + 1][0].lower() in "aeio":
            tokens[i] += "n"
    return " ".join(tokens)


def _name(rng: Random) -> str:
    name = _pick(rng, lexicon.ONSET) + _pick(rng, lexicon.NUCLEUS)
    if rng.random() < 0.7:
        name += _pick(rng, lexicon.MIDDLE)
    return (name + _pick(rng, lexicon.ENDING)).capitalize()


def _pick(rng: Random, items: tuple[str, ...] | list[str]) -> str:
    # Only Random.random() is promised to give the same numbers in every Python.
    return items[int(rng.random() * len(items))]
