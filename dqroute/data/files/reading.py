"""Pictures decoded by threads while earlier ones are in use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dqroute.data.files.decoding import named, them

AHEAD = 3  # batches that are decoded beside the one in use
TOGETHER = 8  # pictures a thread decodes at a time


def read_ahead(
    parts: Iterable[Tensor],
    file: Callable[[int], Path],
    read: Callable[[Path, int], np.ndarray],
    side: int,
    base: Path,
    *,
    threads: int | None = None,
    pinned: bool = False,
) -> Generator[Tensor, None, None]:
    """Batches of pictures in order.

    Threads decode a few batches ahead; they end with the iterator, whether it is used up, closed or fails. Decoding
    lets go of Python's lock, so threads do what processes would, without copies between them.

    Args:
        parts: the pictures of each batch by number, int64 ``[B]``; asked for as they are needed.
        file: a picture's file by number.
        read: gives a file, and the picture's number, as uint8 ``[side, side, 3]``.
        base: folder that file names in messages are relative to.
        threads: as many as there are cores unless given.
        pinned: whether to put batches where a GPU can fetch them by itself.

    Yields:
        uint8 ``[B, 3, side, side]``, channels last in memory.

    Raises:
        ValueError: naming the files of a batch that cannot be read, when it is that batch's turn.
    """

    def fill(images: np.ndarray, numbers: Sequence[int]) -> list[tuple[Path, Exception]]:
        failures: list[tuple[Path, Exception]] = []
        for place, number in enumerate(numbers):
            # Damaged files raise almost anything: OSError, SyntaxError, ValueError, struct.error, EOFError.
            try:
                images[place] = read(file(number), number)
            except Exception as error:
                failures.append((file(number), error))
        return failures

    pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="dqroute-reading")
    waiting: deque[tuple[Tensor, list[Future[list[tuple[Path, Exception]]]]]] = deque()

    def first() -> Tensor:
        images, futures = waiting.popleft()
        failures = [failure for future in futures for failure in future.result()]
        if failures:
            it, was = them(failures), "it was" if len(failures) == 1 else "they were"
            raise ValueError(
                f"cannot read {named(failures, base)}; restore {it} as {was} and start again (finished epochs are "
                f"kept), or remove {it}, which makes another set"
            )
        return images.permute(0, 3, 1, 2)

    try:
        for part in parts:
            images = torch.empty(len(part), side, side, 3, dtype=torch.uint8, pin_memory=pinned)
            pieces = zip(images.split(TOGETHER), part.split(TOGETHER), strict=True)
            waiting.append((images, [pool.submit(fill, rows.numpy(), piece.tolist()) for rows, piece in pieces]))
            if len(waiting) > AHEAD:
                yield first()
        while waiting:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
