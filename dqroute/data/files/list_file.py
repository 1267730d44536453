"""Reading the field's split lists: lines of ``path label``, plain or gzipped."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import torch

from dqroute.data.files.listing import Listing
from dqroute.data.files.names import Names

LONGEST = 16_384  # bytes of a line; a longer one is no line of a list
DIGITS = 9  # of a label; more classes than that there are not
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_list(file: Path) -> Listing:
    """The images and labels of a list, in its order.

    A line is a path below the images' folder, blanks or a tab, and a class index from 0. The path may hold blanks and
    any script. Empty lines are passed over. A file whose name ends in ``.gz`` is unpacked along the way.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the lines that are not of this form, or a path that is listed twice.
    """
    labels = array("q")
    lines = array("q")
    bad: list[str] = []
    number_of_bad = 0

    def names() -> Iterator[bytes]:
        nonlocal number_of_bad
        for number, line in numbered_lines(file):
            if not line.strip():
                continue
            try:
                name, label = parsed(line)
            except ValueError as error:
                number_of_bad += 1
                if len(bad) < 5:
                    bad.append(f"line {number} ({error})")
                continue
            labels.append(label)
            lines.append(number)
            yield name

    packed = Names(names())
    if number_of_bad:
        what = "is not" if number_of_bad == 1 else "are not"
        number = "" if number_of_bad <= 5 else f"{number_of_bad:,} lines, among them "
        raise ValueError(f"{file}: {number}{', '.join(bad)} {what} a path and a label; correct the list")
    if not len(packed):
        raise ValueError(f"{file} lists no image; expected lines of a path and a label, such as 'a/1.jpg 0'")
    twice = packed.twice()
    if twice is not None:
        first, second = (lines[place] for place in twice)
        raise ValueError(
            f"{file} lists {packed[twice[0]]!r} in line {first} and again in line {second}; remove one of them"
        )
    return Listing(packed, torch.tensor(labels, dtype=torch.int64))


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a plain or gzipped file, from 1, without their ends.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read or unpacked, or a line is longer than any path and label.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no list {file}")
    try:
        with opened(file) as lines:
            number = 0
            while line := lines.readline(LONGEST):
                number += 1
                if len(line) == LONGEST:
                    raise ValueError(f"{file}, line {number}, is longer than {LONGEST:,} bytes; is it a list at all?")
                yield number, (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot read {file} ({error}); fetch or unpack it again") from error


def opened(file: Path) -> gzip.GzipFile | io.BufferedReader:
    """A plain or gzipped file, to read bytes from."""
    return gzip.open(file) if file.suffix == ".gz" else open(file, "rb")


def parsed(line: bytes) -> tuple[bytes, int]:
    """Path and label of one line.

    Raises:
        ValueError: telling what is wrong with it.
    """
    name, *rest = line.rsplit(None, 1)
    if not rest:
        raise ValueError(f"{shown(line)}: no label")
    label = rest[0]
    if label.startswith(b"-") and label[1:].isdigit():
        raise ValueError(f"label {shown(label)} is negative")
    if not label.isdigit():
        raise ValueError(f"label {shown(label)} is no whole number")
    if len(label) > DIGITS:
        raise ValueError(f"label {shown(label)} is too large")
    if b"\0" in name:
        raise ValueError(f"{shown(name)} is no path")
    if os.path.isabs(name):
        raise ValueError(f"{shown(name)} does not start below the images' folder")
    if b"./" in name or b"//" in name:
        # One name for one file, so that it is found again in another list.
        name = os.path.normpath(name).replace(os.fsencode(os.sep), b"/")
        if name == b".." or name.startswith(b"../"):
            raise ValueError(f"{shown(name)} leads out of the images' folder")
    return name, int(label)


def shown(text: bytes) -> str:
    """A piece of a line for a message, cut if it is long."""
    return repr(os.fsdecode(text[:60])) + ("…" if len(text) > 60 else "")
