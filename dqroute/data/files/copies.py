"""Pictures that are the same file twice: across parts they leak, across classes one of the labels is wrong."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dqroute.data.files.decoding import regular
from dqroute.data.files.threads import each
from dqroute.data.markup import number_of

BEGINNING = 4096  # bytes of a file that are compared first


def copies(base: Path, names: Sequence[str]) -> list[list[int]]:
    """Which of some files below ``base`` have the same content: the numbers of each set of two or more, in order."""
    alike = [list(range(len(names)))]
    # Sizes tell most files apart, their beginnings nearly all others: few are read to their end.
    looks: tuple[Callable[[Path], object], ...] = (size, partial(digest, most=BEGINNING), digest)
    for look in looks:
        found: list[list[int]] = []
        seen = each(lambda n, look=look: look(base / names[n]), [n for those in alike for n in those])  # type: ignore[misc]
        for those in alike:
            by_sight = defaultdict[object, list[int]](list)
            for number in those:
                by_sight[next(seen)].append(number)
            found += [same for same in by_sight.values() if len(same) > 1]
        alike = found
    return alike


def size(file: Path) -> int | Path:
    """In bytes; of what is no file, or not there, its name, which no other has: it is missed when it is read."""
    try:
        return regular(file).stat().st_size
    except OSError:
        return file


def digest(file: Path, most: int = -1) -> bytes:
    """Of a file's first bytes, so many at most, or of all of it."""
    with open(file, "rb") as opened:
        content = hashlib.file_digest(opened, "sha256") if most < 0 else hashlib.sha256(opened.read(most))
        return content.digest()


def beginning(file: Path) -> bytes:
    """What tells nearly all files apart, a digest of their first bytes; of what cannot be read, its name."""
    try:
        return digest(regular(file), BEGINNING)
    except OSError:
        return os.fsencode(file.name)


def with_copies(group: Tensor, same: Sequence[Sequence[int]]) -> Tensor:
    """Groups, int64 ``[N]``, made one where they hold the same picture, of the numbers of each set of copies."""
    leader, ids = dict[int, int](), group.tolist()

    def first(of: int) -> int:
        while of in leader:
            of = leader[of]
        return of

    for those in same:
        for number in those[1:]:
            if (other := first(ids[number])) != (one := first(ids[those[0]])):
                leader[other] = one
    return torch.tensor([first(of) for of in ids])


def leaks(
    alike: Sequence[Sequence[str]], listings: Mapping[str, tuple[Sequence[str], Tensor]], class_names: Sequence[str]
) -> list[str]:
    """What copies of files mean for an image set, in sentences: of parts, their files and labels."""
    part, label, twice = dict[str, str](), dict[str, int](), {name for same in alike for name in same}
    for of, (files, labels) in listings.items():
        for name, k in zip(files, labels.tolist(), strict=True):
            if name in twice:
                part[name], label[name] = of, k
    across: dict[tuple[str, ...], list[Sequence[str]]] = defaultdict(list)
    classes: list[Sequence[str]] = []
    for same in alike:
        where = tuple(sorted({part[n] for n in same}, key=list(listings).index))
        if len(where) > 1:
            across[where].append(same)
        if len({label[n] for n in same}) > 1:
            classes.append(same)

    def told(sets: list[Sequence[str]]) -> str:
        shown = "; ".join(" = ".join(same[:3]) for same in sets[:3])
        return shown + (f"; and {len(sets) - 3:,} more" if len(sets) > 3 else "")

    said = [
        f"{number_of(len(sets), 'pictures are')} both in {' and '.join(where)}, by content: "
        f"{told(sets)}; what is measured on them is memory, so remove them from one"
        for where, sets in across.items()
    ]
    if classes:
        which = sorted({class_names[label[n]] for same in classes for n in same})
        said.append(
            f"{number_of(len(classes), 'pictures stand')} in several classes "
            f"({', '.join(which[:5])}{', …' if len(which) > 5 else ''}): {told(classes)}; one of the labels is wrong"
        )
    return said
