"""Many small questions to a disk at once: on a network drive each waits for its answer, and a thread is asleep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Found = TypeVar("Found")


def each(look: Callable[[T], Found], items: Sequence[T], threads: int = 16, together: int = 256) -> Iterator[Found]:
    """What ``look`` finds of each item, in order.

    A thread takes so many items ``together``: a task for each of 250,000 files would fill the memory.
    """

    def some(start: int) -> list[Found]:
        return [look(item) for item in items[start : start + together]]

    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(some, range(0, len(items), together)):
            yield from found
