"""Pictures that are the same file twice: across parts they leak, across classes one of the labels is wrong."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dqroute.data.files.decoding import regular
from dqroute.data.files.listing import Listing
from dqroute.data.files.reading import each
from dqroute.data.markup import number_of

BEGINNING = 4096  # bytes of a file that are compared first


def copies(base: Path, names: Sequence[str]) -> list[list[int]]:
    """Which of some files below ``base`` have the same content: the numbers of each set of two or more, in order."""

    def seen(look: Callable[[Path], object], number: int) -> object:
        file = base / names[number]
        try:
            return look(regular(file))
        except OSError:
            return file  # is like no other: it is missed when it is read

    alike = [list(range(len(names)))]
    # Sizes tell most files apart, their beginnings nearly all others: few are read to their end.
    for look in (os.path.getsize, beginning, digest):
        found: list[list[int]] = []
        answers = each(partial(seen, look), [n for those in alike for n in those])
        for those in alike:
            by_sight = defaultdict[object, list[int]](list)
            for number in those:
                by_sight[next(answers)].append(number)
            found += [same for same in by_sight.values() if len(same) > 1]
        alike = found
    return alike


def digest(file: Path) -> bytes:
    """Of all of a file, however large, a piece at a time."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def beginning(file: Path) -> bytes:
    """What tells nearly all files apart, a digest of their first bytes; of what cannot be read, its name."""
    try:
        with open(regular(file), "rb") as opened:
            return hashlib.sha256(opened.read(BEGINNING)).digest()
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


def leaks(alike: Sequence[Sequence[str]], listings: Mapping[str, Listing], class_names: Sequence[str]) -> Iterator[str]:
    """What copies of files mean for an image set, in sentences."""
    twice = {name for same in alike for name in same}
    place = {
        name: (part, class_names[k])
        for part, (names, labels, _) in listings.items()
        for name, k in zip(names, labels.tolist(), strict=True)
        if name in twice
    }
    across, classes, which = defaultdict[str, list[str]](list), list[str](), set[str]()
    for same in alike:
        shown, (parts, of) = " = ".join(same[:3]), map(dict.fromkeys, zip(*(place[name] for name in same), strict=True))
        if len(parts) > 1:
            across[" and ".join(part for part in listings if part in parts)].append(shown)
        if len(of) > 1:
            classes.append(shown)
            which.update(of)

    def told(sets: list[str]) -> str:
        return "; ".join(sets[:3]) + (f"; and {len(sets) - 3:,} more" if len(sets) > 3 else "")

    for where, sets in across.items():
        both = f"{number_of(len(sets), 'pictures are')} both in {where}, by content"
        yield f"{both}: {told(sets)}; what is measured on them is memory, so remove them from one"
    if classes:
        several = f"{', '.join(sorted(which)[:5])}{', …' * (len(which) > 5)}"
        stand = f"{number_of(len(classes), 'pictures stand')} in several classes ({several})"
        yield f"{stand}: {told(classes)}; one of the labels is wrong"
