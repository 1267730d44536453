"""Reading the field's split lists: lines of ``path label``, plain or gzipped."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch

from dqroute.data.files.listing import Listing

DIGITS = 9  # of a label; more classes than that there are not
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_list(file: Path) -> Listing:
    """The images and labels of a list, in its order.

    A line is a path below the images' folder, blanks or a tab, and a class index from 0. The path may hold blanks and
    any script. Empty lines are passed over. A file whose name ends in ``.gz`` is unpacked along the way. ValueError
    names the lines that are not of this form, or a path that is listed twice.
    """
    lines: dict[str, int] = {}
    labels: list[int] = []
    bad: list[str] = []
    for number, line in numbered_lines(file):
        try:
            name, label = parsed(line)
        except ValueError as error:
            bad.append(f"line {number} ({error})")
            continue
        if name in lines:
            raise ValueError(
                f"{file} lists {name!r} in line {lines[name]} and again in line {number}; remove one of them"
            )
        lines[name] = number
        labels.append(label)
    if bad:
        many = f"{len(bad):,} lines, among them " if len(bad) > 5 else ""
        are = "is not" if len(bad) == 1 else "are not"
        raise ValueError(f"{file}: {many}{', '.join(bad[:5])} {are} a path and a label; correct the list")
    if not lines:
        raise ValueError(f"{file} lists no image; expected lines of a path and a label, such as 'a/1.jpg 0'")
    return Listing(list(lines), torch.tensor(labels, dtype=torch.int64))


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a plain or gzipped file that are not empty, from 1, without their ends; an error names the file."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no list {file}")
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot read {file} ({error}); fetch or unpack it again") from error


def parsed(line: bytes) -> tuple[str, int]:
    """Path and label of one line; ValueError tells what is wrong with it."""
    name, *rest = line.rsplit(None, 1)
    label = rest[0] if rest else b""
    if not label.isdigit() or len(label) > DIGITS:
        raise ValueError(f"label {shown(label)} is no class index from 0" if rest else f"{shown(line)}: no label")
    if b"\0" in name:
        raise ValueError(f"{shown(name)} is no path")
    if os.path.isabs(name):
        raise ValueError(f"{shown(name)} does not start below the images' folder")
    if b"./" in name or b"//" in name:
        # One name for one file, so that it is found again in another list.
        name = os.path.normpath(name).replace(os.fsencode(os.sep), b"/")
        if name == b".." or name.startswith(b"../"):
            raise ValueError(f"{shown(name)} leads out of the images' folder")
    return os.fsdecode(name), int(label)


def shown(text: bytes) -> str:
    """A piece of a line for a message, cut if it is long."""
    return repr(os.fsdecode(text[:60])) + ("…" if len(text) > 60 else "")
