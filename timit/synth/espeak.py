"""A thin ctypes binding to the espeak-ng library that PyPI's `espeakng-loader` carries.

The library keeps state between calls, so that a sentence's samples depend on what was said before it: a process
that must always give the same samples says the same sentences in the same order from its start.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError

_SYNCHRONOUS = 2
_PHONEME_EVENTS = 0x0001 | 0x0002  # named in IPA: what is said, which differs by accent
_DONT_EXIT = 0x8000
_UTF8 = 1
_POS_CHARACTER = 1
_EVENT_WORD, _EVENT_PHONEME = 1, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_SEED = 1


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Phoneme:
    """A phoneme from sample `begin`, in IPA (blank: pause or glide), of the word at character `position`."""

    begin: int
    ipa: str
    position: int


@dataclass(frozen=True)
class Speech:
    """Samples, int16 [N], at `Espeak.rate` Hz with the phonemes in them and the words' first characters."""

    samples: np.ndarray
    phonemes: list[Phoneme]
    word_positions: list[int]


class Espeak:
    """One voice of espeak-ng; the library is one per process, so there should be one such object per process."""

    def __init__(self, voice: str) -> None:
        loader = _loader()
        self._library = ctypes.CDLL(loader.get_library_path())
        path = loader.get_data_path().encode()
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, path, _PHONEME_EVENTS | _DONT_EXIT)
        if self.rate <= 0:
            raise UserError(f"{loader.get_data_path()}: espeak-ng cannot start with this data")
        # Breathy and rough voices draw noise; left alone, the library seeds it from the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        self._samples: list[np.ndarray] = []
        self._phonemes: list[Phoneme] = []
        self._positions: list[int] = []
        self._callback = _Callback(self._receive)  # referenced here, else it is collected while in use
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng has no voice '{voice}'; espeakng-loader 0.2.4 is known to")

    def say(self, text: str, rate: int, pitch: int, pitch_range: int) -> Speech:
        """Synthesise `text`; `rate` in words per minute, `pitch` and `pitch_range` from 0 to 99."""
        self._samples, self._phonemes, self._positions = [], [], []
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        status = self._library.espeak_Synth(data, size, 0, _POS_CHARACTER, 0, _UTF8, None, None)
        if status != 0 or not self._samples:
            raise UserError(f"espeak-ng gave no audio for '{text}' (status {status})")
        return Speech(np.concatenate(self._samples), self._phonemes, self._positions)

    def _receive(self, wave: object, count: int, events: object) -> int:
        if wave and count:
            self._samples.append(np.ctypeslib.as_array(wave, (count,)).copy())
        for event in events:
            if event.type == 0:
                break
            if event.type == _EVENT_PHONEME:
                name = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0].decode(errors="ignore")
                self._phonemes.append(Phoneme(event.sample, name, event.text_position))
            elif event.type == _EVENT_WORD:
                self._positions.append(event.text_position)
        return 0


def version() -> str:
    """Version of the library, which the generated samples depend on."""
    library = ctypes.CDLL(_loader().get_library_path())
    library.espeak_Info.restype = ctypes.c_char_p
    return library.espeak_Info(None).decode().split()[0]


def _loader() -> object:
    try:
        import espeakng_loader
    except ImportError:
        raise UserError(
            "the synthetic corpus needs espeak-ng: pip install espeakng-loader,"
            " or bring a corpus of your own: --corpus kaldi-data --corpus-dir DIR"
        ) from None
    return espeakng_loader
