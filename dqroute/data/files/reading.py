"""Many pictures by threads: whole sets, batches ahead of their use, and small questions to a disk.

Decoding lets go of Python's lock, so threads do what processes would, without copies between them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dqroute.core.checks import checked_whole, choose, one_line, shown
from dqroute.data.files.decoding import FITS, HEIF, HEIF_ENDINGS, formats, read_rgb

AHEAD = 3  # batches that are decoded beside the one in use
TOGETHER = 8  # pictures a thread decodes at a time
CHUNK = 256  # pictures of a set that are decoded at a time
MEND = (
    "mend such files, or leave them out: of pictures of one's own dq.load(..., skip_damaged=True) does, and names them "
    "(papermill: -p skip_damaged True, of the benchmark -p options '{\"skip_damaged\": true}')"
)
Failures = list[tuple[str, Exception]]
T = TypeVar("T")
Found = TypeVar("Found")
PathLike = str | os.PathLike[str]


def read_images(files: Sequence[PathLike] | PathLike, size: int, kind: str = "bicubic", fit: str = "crop") -> Tensor:
    """Pictures of any kind and size as a model takes them: ``run.model.predict(dq.read_images(files, size=32))``.

    One file makes a batch of one. Pictures are cropped to a centred square and resized to ``size``, the side in pixels
    that the model was trained on, by an interpolation of a ``kind``, ``"bicubic"`` or ``"bilinear"``: uint8
    ``[N, 3, size, size]``. ``fit`` is ``"crop"``, or ``"pad"`` or ``"stretch"``, which keep the whole picture.
    ValueError names the files that cannot be read.
    """
    paths, size = [os.fspath(file) for file in checked_files(files)], checked_whole("size", size, 1)
    if not paths:
        raise ValueError("no files were given to read")
    if not any(map(os.path.lexists, paths)):
        raise ValueError(f"cannot read {listed(paths)}: there is no such file")
    if folders := [path for path in paths if os.path.isdir(path)]:
        raise ValueError(f"{listed(folders)} is a folder; dq.classify takes folders, and here each file is named")
    return decode(paths, size, Path(), kind=kind, fit=choose("fit", fit, FITS))


def refused(picture: object) -> NoReturn:
    """ValueError for what is no path."""
    remedy = instead_of(picture) or "save a picture first, as in Image.fromarray(ARRAY).save('a.png')"
    if isinstance(picture, Tensor):
        remedy = "images take run.model.predict(images)"
    raise ValueError(f"picture files are paths; got {shown(picture)}; {remedy}")


def instead_of(given: object) -> str:
    """What to give instead of a table, an image set or a split, or what takes it; ``""`` for anything else."""
    if hasattr(given, "columns"):
        return "give its column of paths, as in table['file']"
    if hasattr(given, "splits"):
        return (
            "run.model.predict(data.test) names the pictures of a set, dq.evaluate(run, data, other=True) judges them"
        )
    return "run.model.predict(split) names the pictures of a split" if hasattr(given, "labels") else ""


def checked_files(files: Any, made: Callable[[object], PathLike] = refused) -> list[PathLike]:
    """The files, or the one; of what is none, what is ``made`` of it. An array of two axes or three is one picture."""
    one = (
        not isinstance(files, Iterable) or isinstance(files, (str, os.PathLike)) or getattr(files, "ndim", 1) in (2, 3)
    )
    given = [files] if one else files
    return [slashed(file) if isinstance(file, (str, os.PathLike)) else made(file) for file in given]


def slashed(file: PathLike) -> PathLike:
    """A path as it is, or with slashes for Windows' backslashes, where only so it is there."""
    other = os.fspath(file).replace("\\", "/")
    return other if other != os.fspath(file) and not os.path.exists(file) and os.path.exists(other) else file


def decode(
    names: Sequence[str],
    side: int,
    base: Path,
    *,
    kind: str = "bicubic",
    fit: str = "crop",
    remedy: str = "restore or repair such files, or leave them out",
) -> Tensor:
    """Images below ``base`` as squares: uint8 ``[N, 3, side, side]``. ValueError names files that cannot be read."""
    images = torch.empty(len(names), 3, side, side, dtype=torch.uint8)
    failures: Failures = []
    parts = torch.arange(len(names)).split(CHUNK)
    square = partial(read_rgb, side=side, kind=kind, fit=fit)
    read = read_ahead(parts, names, base, lambda file, _: square(file), side, failures=failures)
    with closing(read) as batches:
        for place, batch in zip(images.split(CHUNK), batches, strict=True):
            place.copy_(batch)
    if failures:
        raise ValueError(f"cannot read {named(failures)}; {remedy}")
    return images


def read_ahead(
    parts: Iterable[Tensor],
    names: Sequence[str],
    base: Path,
    read: Callable[[Path, int], np.ndarray],
    side: int,
    *,
    threads: int | None = None,
    pinned: bool = False,
    failures: Failures | None = None,
) -> Generator[Tensor, None, None]:
    """Batches of pictures in order, uint8 ``[B, 3, side, side]``, channels last in memory.

    A few are decoded ahead by threads that end with the iterator.

    Args:
        parts: the pictures of each batch by number, int64 ``[B]``; asked for as they are needed.
        names: of all pictures, below ``base``.
        read: gives a file, and the picture's number, as uint8 ``[side, side, 3]``.
        threads: as many as there are :func:`~dqroute.data.files.reading.cores` unless given.
        pinned: whether to put batches where a GPU can fetch them by itself.
        failures: takes the files that cannot be read, and why; without it ValueError names them at their batch's turn.
    """

    def fill(images: np.ndarray, numbers: Sequence[int]) -> Failures:
        failed: Failures = []
        for place, number in enumerate(numbers):
            # Damaged files raise almost anything: OSError, SyntaxError, ValueError, struct.error, EOFError.
            try:
                images[place] = read(base / names[number], number)
            except Exception as error:
                failed.append((names[number], error))
        return failed

    def first() -> Tensor:
        images, futures = waiting.popleft()
        failed = [failure for future in futures for failure in future.result()]
        if failures is not None:
            failures.extend(failed)
        elif failed:
            raise ValueError(
                f"cannot read {named(failed)}; restore such files unchanged and start again (what is finished is "
                "kept), or remove them, which makes another set"
            )
        return images.permute(0, 3, 1, 2)

    waiting: deque[tuple[Tensor, list[Future[Failures]]]] = deque()
    pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="dqroute-reading")
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


def each(look: Callable[[T], Found], items: Sequence[T], threads: int = 16, together: int = 256) -> Iterator[Found]:
    """What ``look`` finds of each item, in order: on a network drive each waits for its answer, and a thread is asleep.

    A thread takes so many items ``together``: a task for each of 250,000 files would fill the memory.
    """

    def some(start: int) -> list[Found]:
        return [look(item) for item in items[start : start + together]]

    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(some, range(0, len(items), together)):
            yield from found


def cores() -> int:
    """The processor's cores for this process: its share where a launcher started several on this machine."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def named(failures: Sequence[tuple[str, Exception]], most: int = 5) -> str:
    """So many files at most with what is wrong with them, and how many there are."""

    def reason(name: str, error: Exception) -> str:
        # The messages for unknown content and lost files repeat the path.
        if isinstance(error, UnidentifiedImageError):
            heif = os.path.splitext(name)[1].lower() in HEIF_ENDINGS and "HEIF" not in formats()
            return "no picture of a kind that is read here" + f"; {HEIF} reads such" * heif
        if isinstance(error, Image.DecompressionBombError):
            return "too many pixels for Pillow; shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
        return getattr(error, "strerror", None) or one_line(error)

    shown = ", ".join(
        f"{name if name.isprintable() else repr(name)} ({reason(name, error)})" for name, error in failures[:most]
    )
    return shown if len(failures) <= most else f"{len(failures)} images, among them {shown}"


def listed(names: Sequence[object]) -> str:
    """Up to five names and how many more there are."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more
