"""Memories that count what is read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from frenchpress.hardware.memory import Packing


class Ram:
    """Words of `banks` banks side by side, read together. `accesses`: shared by all memories of a chip."""

    def __init__(self, name: str, words: list[int], word_bits: int, banks: int, accesses: Counter[str]) -> None:
        self._name, self._words, self.word_bits = name, words, word_bits
        self._banks, self._accesses = banks, accesses

    def read(self, address: int) -> int:
        """A word."""
        self._accesses[self._name] += self._banks
        return self._words[address]

    def fields(self, start: int, bits: int, count: int) -> Iterator[tuple[int, int]]:
        """`count` fields of `bits`, from word `start` on: each with the number of words that were read for it."""
        packing, address, word = Packing(bits, self.word_bits), start, 0
        for number in range(count):
            at = number % packing.per_word
            if at == 0:
                word = sum(self.read(address + k) << (k * self.word_bits) for k in range(packing.words_each))
                address += packing.words_each
            yield word >> (at * bits) & ((1 << bits) - 1), packing.words_each if at == 0 else 0


class Numbers:
    """Numbers, each in a word of its own: sums, states, constants."""

    def __init__(self, name: str, values: Sequence[int], accesses: Counter[str]) -> None:
        self._name, self._values, self._accesses = name, list(values), accesses

    def read(self, at: int) -> int:
        """One number."""
        self._accesses[self._name] += 1
        return self._values[at]

    def write(self, at: int, value: int) -> None:
        """One number."""
        self._accesses[self._name] += 1
        self._values[at] = value

    def clear(self, start: int, count: int) -> None:
        """Zeros, at no cost: a flag says that a sum has not begun."""
        self._values[start : start + count] = [0] * count


class Vector:
    """Activations of `bits` bits, two's complement, several to a word; one word of `banks` banks is read at a time."""

    def __init__(self, size: int, bits: int, word_bits: int, banks: int, accesses: Counter[str]) -> None:
        self.size, self._bits, self._banks, self._accesses = size, bits, banks, accesses
        self.packing = Packing(bits, banks * word_bits)
        self._words = [0] * self.packing.words(size)

    def write(self, at: int, value: int, counted: bool = True) -> None:
        """One number, into its place in a word."""
        address, shift = at // self.packing.per_word, at % self.packing.per_word * self._bits
        mask = (1 << self._bits) - 1
        self._words[address] = self._words[address] & ~(mask << shift) | (value & mask) << shift
        self._accesses["activations"] += counted

    def word(self, address: int) -> list[int]:
        """The numbers of a word."""
        self._accesses["activations"] += self._banks
        return [self._number(address, k) for k in range(self.packing.per_word)]

    def one(self, at: int) -> int:
        """A number alone, from the one bank that has it."""
        self._accesses["activations"] += 1
        return self._number(at // self.packing.per_word, at % self.packing.per_word)

    def _number(self, address: int, k: int) -> int:
        code = self._words[address] >> (k * self._bits) & ((1 << self._bits) - 1)
        return code - (1 << self._bits) if code >> (self._bits - 1) else code
