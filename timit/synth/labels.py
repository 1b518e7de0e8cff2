"""From espeak-ng's phoneme events to TIMIT's labels with their times.

espeak says when each phoneme begins; TIMIT wants more: the closure of a stop apart from its release, flaps,
reduced vowels, silences. Those are found in the clean signal, where a pause is silent and a voiced closure has no
energy above the voice bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from timit.reader import Segment
from timit.synth.espeak import Speech

# IPA without its stress mark -> labels, of which a first one takes _FIRST_SHARE of the time.
_IPA = {
    **dict.fromkeys(["ɒ", "ɑː", "aː", "a:", "aa"], "aa"),
    **dict.fromkeys(["ɔ", "ɔː"], "ao"),
    **dict.fromkeys(["æ", "a"], "ae"),
    **dict.fromkeys(["ə", "ɐ", "ɜ"], "ax"),
    **dict.fromkeys(["ɛ", "e"], "eh"),
    **dict.fromkeys(["iː", "i"], "iy"),
    **dict.fromkeys(["uː", "ʉː", "ʉ"], "uw"),
    **dict.fromkeys(["eɪ", "eː", "ei"], "ey"),
    **dict.fromkeys(["ɔɪ", "oɪ"], "oy"),
    **dict.fromkeys(["aʊ", "æʊ", "ʌʉ"], "aw"),
    **dict.fromkeys(["oʊ", "əʊ", "ʌʊ", "oː", "o", "əu"], "ow"),
    **dict.fromkeys(["ʌɹ", "ɜː"], "er"),
    **dict.fromkeys(["ɚ", "əɹ"], "axr"),
    **dict.fromkeys(["eə", "ɛə"], "eh ax"),
    **dict.fromkeys(["ɔə", "oə"], "ao ax"),
    **dict.fromkeys(["ɹ", "r"], "r"),
    **dict.fromkeys(["w", "ʍ"], "w"),
    **dict.fromkeys(["t", "t̪"], "t"),
    "ɪ": "ih",
    "ᵻ": "ix",
    "ʊ": "uh",
    "ʌ": "ah",
    "aɪ": "ay",
    "aɪə": "ay ax",
    "aɪɚ": "ay axr",
    "əɪ": "ax ix",
    "iə": "iy ax",
    "ʊə": "uh ax",
    "ɑə": "aa ax",
    "ɑːɹ": "aa r",
    "ɔːɹ": "ao r",
    "ɛɹ": "eh r",
    "ɪɹ": "ih r",
    "ʊɹ": "uh r",
    "ʉɹ": "uw r",
    "əl": "el",
    "n̩": "en",
    "ɾ": "dx",
    "ʔ": "q",
    "ŋ": "ng",
    "ð": "dh",
    "θ": "th",
    "ʃ": "sh",
    "ʒ": "zh",
    "tʃ": "ch",
    "dʒ": "jh",
    "ɡ": "g",
    "j": "y",
    "h": "hh",
    **{letter: letter for letter in "bdfklmnpsvz"},
}
_FIRST_SHARE = 0.55

_CLOSURE = {"p": "pcl", "t": "tcl", "k": "kcl", "b": "bcl", "d": "dcl", "g": "gcl", "ch": "tcl", "jh": "dcl"}
_VOICED_STOPS = frozenset(["b", "d", "g", "jh"])
_UNVOICED = frozenset(["p", "t", "k", "ch", "f", "th", "s", "sh", "hh", "q"])
_CORONAL = frozenset(["t", "d", "n", "s", "z", "sh", "ch", "jh", "y", "l", "dx"])
_PAUSES = frozenset(["pau", "h#", "epi"])

_QUIET = 10 ** (-35 / 20)  # silent: so far below the loudest millisecond (some voices have an echo)
_MIN_CLOSURE = 0.010  # seconds; a shorter gap before a stop goes unlabelled, as in TIMIT
_MAX_CLOSURE = 0.110
_MIN_EPENTHETIC = 0.025  # a gap that belongs to no stop
_MIN_PAUSE = 0.060
_SYLLABIC = 0.075
_MIN_AUDIBLE = 0.008  # what is left of a phone when its silence is cut off; less is no phone


@dataclass
class _Piece:
    begin: int
    end: int
    label: str
    position: int


@dataclass(frozen=True)
class Word:
    """A word of the text from sample `begin` up to `end`."""

    begin: int
    end: int
    text: str


def segments(speech: Speech, rate: int, texts: list[str]) -> tuple[list[Segment], list[Word]]:
    """TIMIT's labels of the whole signal without gaps, and the words of `texts` where they are said.

    `rate` in Hz. Times are samples of `speech`; the first and the last label are the silences `h#`. UserError if
    espeak-ng said a phoneme for which there is no label.
    """
    level = _Level(speech.samples, rate)
    pieces = _syllabic(_reduce(_pieces(speech)), rate)
    pieces = _with_gaps(pieces, level, rate)
    pieces = _with_releases(pieces, level, rate)
    pieces = _with_edges(pieces, len(speech.samples))
    return [Segment(p.begin, p.end, p.label) for p in pieces], _words(pieces, speech, texts)


class _Level:
    """Loudness per millisecond: of the signal, and of its difference, in which voice bars are weak."""

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self.step = rate // 1000
        signal = samples.astype(np.float64)
        self.full = self._rms(signal, 1)
        self.high = self._rms(np.diff(signal, prepend=0.0), 6)
        self.quiet = self.full < max(2.0, _QUIET * self.full.max(initial=0.0))

    def _rms(self, signal: np.ndarray, width: int) -> np.ndarray:
        count = len(signal) // self.step
        power = np.mean(signal[: count * self.step].reshape(count, self.step) ** 2, axis=1)
        return np.sqrt(np.convolve(power, np.full(width, 1 / width), mode="same"))

    def quiet_tail(self, begin: int, end: int) -> int:
        """Sample from which all up to `end` is silent, at the earliest `begin`."""
        first, last = -(-begin // self.step), end // self.step
        place = last
        while place > first and place <= len(self.quiet) and self.quiet[place - 1]:
            place -= 1
        return end if place == last else place * self.step

    def release(self, begin: int, end: int) -> int:
        """Sample at which a voiced closure within [begin, end) most likely opens."""
        high = 20 * np.log10(self.high[begin // self.step : end // self.step] + 1.0)
        best, place = 0.0, len(high) // 2
        for i in range(8, len(high) - 4):
            rise = high[i : i + 15].mean() - high[:i].mean()
            if rise > best:
                best, place = rise, i
        return begin + place * self.step


def _pieces(speech: Speech) -> list[_Piece]:
    """One piece per label; what has no label of its own (glides, pause marks) lengthens the one before it."""
    ends = [phoneme.begin for phoneme in speech.phonemes[1:]] + [len(speech.samples)]
    pieces: list[_Piece] = []
    for phoneme, end in zip(speech.phonemes, ends):
        name = phoneme.ipa.strip("ˈˌʲ ")
        if not name:
            if pieces:
                pieces[-1].end = end
            continue
        if name not in _IPA:
            raise UserError(f"espeak-ng's phoneme '{name}' has no TIMIT label; espeakng-loader 0.2.4 has none such")
        labels = _IPA[name].split()
        if name == "ɪ" and not phoneme.ipa.startswith(("ˈ", "ˌ")):
            labels = ["ix"]
        middle = phoneme.begin + int(_FIRST_SHARE * (end - phoneme.begin))
        cuts = [phoneme.begin, *([middle] if len(labels) == 2 else []), end]
        pieces += [_Piece(a, b, label, phoneme.position) for a, b, label in zip(cuts, cuts[1:], labels) if b > a]
    return pieces


def _reduce(pieces: list[_Piece]) -> list[_Piece]:
    """Labels that depend on the neighbours: voiced h, fronted u, devoiced schwa."""
    before, after = [None, *pieces[:-1]], [*pieces[1:], None]
    for left, piece, right in zip(before, pieces, after):
        if piece.label == "hh" and left and left.label not in _UNVOICED:
            piece.label = "hv"
        elif piece.label == "uw" and left and left.label in _CORONAL:
            piece.label = "ux"
        elif piece.label == "ax" and left and right and {left.label, right.label} <= _UNVOICED:
            piece.label = "ax-h"
    return pieces


def _syllabic(pieces: list[_Piece], rate: int) -> list[_Piece]:
    """A very short schwa between a coronal stop and n is heard as a syllabic n (button, sudden)."""
    result: list[_Piece] = []
    for piece in pieces:
        left = result[-2:] if len(result) > 1 else []
        if (
            piece.label == "n"
            and left
            and left[0].label in ("t", "d")
            and left[1].label == "ax"
            and left[1].position == piece.position
            and left[1].end - left[1].begin < _SYLLABIC * rate
        ):
            result[-1] = _Piece(left[1].begin, piece.end, "en", piece.position)
        else:
            result.append(piece)
    return result


def _with_gaps(pieces: list[_Piece], level: _Level, rate: int) -> list[_Piece]:
    """The silent end of a piece becomes the closure of the stop after it, a pause, or an epenthetic silence."""
    result: list[_Piece] = []
    for piece, after in zip(pieces, [*pieces[1:], None]):
        cut = level.quiet_tail(piece.begin, piece.end)
        if result and cut - piece.begin < _MIN_AUDIBLE * rate:
            cut = piece.begin
        label = _gap_label((piece.end - cut) / rate, piece, after)
        if label is None:
            cut = piece.end
        if cut > piece.begin:
            result.append(_Piece(piece.begin, cut, piece.label, piece.position))
        if label is not None and cut < piece.end:
            owner = after if after is not None and label in _CLOSURE.values() else piece
            result.append(_Piece(cut, piece.end, label, owner.position))
    return result


def _gap_label(gap: float, piece: _Piece, after: _Piece | None) -> str | None:
    """What TIMIT would call `gap` seconds of silence between `piece` and `after`; None if nothing."""
    if after is None:
        return "pau"
    if after.label in _CLOSURE:
        # Hardly any closure is longer: with a stop behind it, a pause swallows the closure.
        if gap > _MAX_CLOSURE and piece.position != after.position:
            return "pau"
        return _CLOSURE[after.label] if gap >= _MIN_CLOSURE else None
    if gap >= _MIN_EPENTHETIC:
        return "epi" if gap < _MIN_PAUSE else "pau"
    return None


def _with_releases(pieces: list[_Piece], level: _Level, rate: int) -> list[_Piece]:
    """Voiced stops, whose closure espeak counts as theirs, are cut where they open."""
    result: list[_Piece] = []
    for piece in pieces:
        if piece.label not in _VOICED_STOPS or piece.end - piece.begin < 0.030 * rate:
            result.append(piece)
            continue
        cut = level.release(piece.begin, piece.end)
        closure = _CLOSURE[piece.label]
        if result and result[-1].label == closure:
            result[-1].end = cut
        else:
            result.append(_Piece(piece.begin, cut, closure, piece.position))
        result.append(_Piece(cut, piece.end, piece.label, piece.position))
    return result


def _with_edges(pieces: list[_Piece], length: int) -> list[_Piece]:
    """`h#` before and behind everything; espeak's last pause is part of it."""
    while pieces and pieces[-1].label in _PAUSES:
        pieces = pieces[:-1]
    first, last = pieces[0], pieces[-1]
    return [_Piece(0, first.begin, "h#", 0), *pieces, _Piece(last.end, length, "h#", 0)]


def _words(pieces: list[_Piece], speech: Speech, texts: list[str]) -> list[Word]:
    """Words by the character at which they begin; words that espeak says as one share its time evenly."""
    starts = np.cumsum([1] + [len(text) + 1 for text in texts])[:-1]
    spans: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        if piece.label not in _PAUSES:
            begin, _ = spans.get(piece.position, (piece.begin, 0))
            spans[piece.position] = (begin, piece.end)
    said = sorted(position for position in spans if position > 0)
    words = []
    for position, following in zip(said, [*said[1:], len(speech.samples)]):
        group = [text for start, text in zip(starts, texts) if position <= start < following]
        begin, end = spans[position]
        cuts = [begin + (end - begin) * i // max(1, len(group)) for i in range(len(group) + 1)]
        words += [Word(a, b, text.strip(".,?").lower()) for a, b, text in zip(cuts, cuts[1:], group)]
    return words
