"""How large many files are, and which of them are missing: asked in bulk, before anything is read."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dqroute.data.files.decoding import named
from dqroute.data.files.names import Names

TOGETHER = 512  # files a thread asks for at a time
THREADS = 16  # on a network drive each question waits for its answer, and a thread is asleep meanwhile


def sizes(base: Path, names: Names) -> array[int]:
    """Bytes of each file, or -1 where there is none (a folder, a pipe or a link that leads nowhere is none)."""
    root = os.fsencode(base)

    def ask(start: int) -> list[int]:
        return [size_of(os.path.join(root, name)) for name in names[start : start + TOGETHER].raw()]

    with ThreadPoolExecutor(THREADS) as pool:
        return array("q", (size for part in pool.map(ask, range(0, len(names), TOGETHER)) for size in part))


def size_of(file: bytes) -> int:
    """Bytes of a file, or -1."""
    try:
        found = os.stat(file)
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def entries(base: Path, parts: Sequence[Names], remedy: str) -> Iterator[bytes]:
    """A line of a digest for each file: its name within the set, and its size in bytes.

    Args:
        base: the folder that names are relative to.
        parts: the names.
        remedy: what to do about missing files, for the message.

    Raises:
        FileNotFoundError: naming files that are missing, and how many there are of how many.
    """
    found = [sizes(base, names) for names in parts]
    gone = [names[i] for names, lengths in zip(parts, found, strict=True) for i, n in enumerate(lengths) if n < 0]
    if gone:
        total = sum(map(len, parts))
        shown = named([(base / name, trouble(base / name)) for name in gone[:5]], base)
        number = (
            f"{len(gone):,} of {total:,} files are missing" if len(gone) > 1 else f"1 of {total:,} files is missing"
        )
        raise FileNotFoundError(f"{number} below {base}{', among them' if len(gone) > 5 else ':'} {shown}; {remedy}")
    for names, lengths in zip(parts, found, strict=True):
        for name, length in zip(names.raw(), lengths, strict=True):
            yield name + f"\0{length}\n".encode()


def trouble(file: Path) -> Exception:
    """What keeps a file from being one."""
    try:
        file.stat()
    except OSError as error:
        return error
    return ValueError("not a file")
