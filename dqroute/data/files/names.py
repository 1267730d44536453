"""File names by the hundred thousand, without an object for each."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class Names(Sequence[str]):
    """Names one behind the other in one block of bytes; a name becomes a string when it is asked for.

    Half a million names of 40 characters take 24 MB like this, and 50 MB as strings, or 250 MB as paths.

    Args:
        names: as strings, or as the bytes the file system has for them.
    """

    def __init__(self, names: Iterable[str | bytes] = ()) -> None:
        block, ends = bytearray(), array("q", [0])
        for name in names:
            block += os.fsencode(name)
            ends.append(len(block))
        self._block, self._ends = block, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Names: ...

    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        place = range(len(self))[index]  # an IndexError beyond the ends; from the end if negative
        return os.fsdecode(self._bytes(place))

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self.raw())

    def __repr__(self) -> str:
        return f"Names({len(self):,} names)"

    def _bytes(self, place: int) -> bytes:
        return bytes(self._block[self._ends[place] : self._ends[place + 1]])

    def raw(self) -> Iterator[bytes]:
        """All names as the bytes the file system has for them."""
        return map(self._bytes, range(len(self)))

    def take(self, indices: Iterable[int]) -> Names:
        """The names at some indices, in that order."""
        return Names(map(self._bytes, indices))

    def twice(self) -> tuple[int, int] | None:
        """The places of the first name that stands here more than once, or None."""
        hashes = np.fromiter(map(hash, self.raw()), dtype=np.int64, count=len(self))
        order = np.argsort(hashes, kind="stable")
        # Equal hashes are a hint only, and a rare one: the names decide.
        alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        pairs = sorted((int(order[place + 1]), int(order[place])) for place in alike)
        return next(((first, second) for second, first in pairs if self._bytes(first) == self._bytes(second)), None)
