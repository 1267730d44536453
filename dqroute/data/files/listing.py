"""From files and their labels to an image set: what trees and lists of images have in common."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from dqroute.core.checks import checked_whole, choose
from dqroute.data.draw import Draw
from dqroute.data.files.decoding import FITS, opened
from dqroute.data.files.depth import is_deep
from dqroute.data.files.reading import MEND, decode, each, listed
from dqroute.data.files.split import FileSplit, entries
from dqroute.data.image_set import Augmentation, ImageSet, ResizedCrop, Split

SEEN = 160  # side in pixels of the squares that pictures of many sizes are seen as
MUCH = 0.35  # share of its pictures that a set may lose at the edges before they are stretched instead
MEMORY_LIMIT = 8 * 2**30  # bytes; beyond this a set does not belong into one tensor


class Listing(NamedTuple):
    """The images of one part of a set: names of files below the set's folder, and int64 ``[N]`` class indices.

    ``group``, int64 ``[N]``, is a number for each image, the same in all parts for those that belong together.
    """

    names: list[str]
    labels: Tensor
    group: Tensor | None = None

    def where(self, chosen: Tensor) -> Listing:
        """Those images of which bool ``[N]`` is true."""
        names, group = [*compress(self.names, chosen.tolist())], self.group
        return Listing(names, self.labels[chosen], None if group is None else group[chosen])


def set_of_files(
    name: str,
    base: Path,
    listings: dict[str, Listing],
    class_names: tuple[str, ...],
    draw: Draw,
    identity: dict[str, Any],
    *,
    size: int,
    stream: bool | None,
    flip: bool = True,
    fit: str = "crop",
    notes: Sequence[str] = (),
) -> ImageSet:
    """Draw the training split and read its images, or leave them in their files.

    Args:
        base: the folder that the listings' names are relative to.
        listings: ``train`` is the pool that is drawn from; ``test`` and ``val``, where there are such, are taken whole.
        identity: what kind of set this is, and what decides its images beside the other arguments and the files.
        notes: on how the listings came about.

    Other arguments and errors as for :func:`dqroute.data.sets.folder.folder`; also FileNotFoundError naming files that
    are missing.
    """
    if "val" in listings and draw.val is not None:
        raise ValueError(f"{name} has validation images of its own; leave val={draw.val} out, or take those away")
    start = "images" if identity["name"] == "table" else "root"
    remedy = f"restore what is missing, or give {start}= the folder that these paths start from"
    digest = hashlib.sha256()
    for entry in entries(base, [n for part in sorted(listings) for n in listings[part].names], remedy):
        digest.update(entry)
    side = checked_whole("size", size, 1)
    choose("fit", fit, FITS)
    parts = {part: FileSplit(base, names, labels, side, fit) for part, (names, labels, _) in listings.items()}
    groups = {part: listing.group for part, listing in listings.items() if listing.group is not None}
    pool, told = parts.pop("train"), {} if fit == "crop" else {"fit": fit}
    data = ImageSet.drawn(
        draw,
        pool.labels,
        pool.at,
        name=name,
        class_names=class_names,
        augmentation=ResizedCrop(flip=flip),
        identity=identity | draw.identity | {"files": digest.hexdigest(), "size": side} | told,
        together=groups.pop("train", None),
        held_together=groups,
        notes=tuple(notes),
        test=parts.pop("test", None),
        **parts,
    )
    number = sum(map(len, data.splits.values()))
    needed = number * 3 * side**2
    if stream or (stream is None and needed > MEMORY_LIMIT):
        return replace(data, identity=data.identity | {"stream": True})
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"{number:,} images of {side}x{side} pixels take {needed / 2**30:.1f} GiB of memory, more than the "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB meant for one set; pass size={int((MEMORY_LIMIT / (3 * number)) ** 0.5)} "
            "or less, or stream=True to leave them in their files"
        )
    # All parts at once, so that damaged files of all of them are named together.
    files = {part: split for part, split in data.splits.items() if isinstance(split, FileSplit)}
    names = [name for split in files.values() for name in split.names]
    images = decode(names, side, base, fit=fit, remedy=MEND)
    pieces = images.split([len(split) for split in files.values()])
    held: dict[str, Any] = {
        part: Split(own, split.labels, split.names) for own, (part, split) in zip(pieces, files.items(), strict=True)
    }
    return replace(data, augmentation=Augmentation(padding=max(1, side // 8), flip=flip), **held)


def check_classes(parts: Mapping[str, Collection[Any]], places: Mapping[str, object], kind: str) -> None:
    """Raise ValueError, naming places and the kind of label, unless test has train's classes, and val no others."""
    for part, other, images in [*((part, "train", "training") for part in parts), ("train", "test", "test")]:
        there = set(parts[other])
        if unknown := [name for name in parts[part] if name not in there]:
            raise ValueError(
                f"{places[part]} has {kind} {listed(unknown)} that {places[other]} has not{spelled(unknown, there)}; "
                f"add {images} images or remove the class"
            )


def look_of(name: object) -> str:
    """A class's name as people see it: without capitals, blanks and the forms of Unicode; 01 and 1.0 are 1."""
    look = "".join(unicodedata.normalize("NFKC", str(name)).casefold().split())
    number = re.fullmatch(r"0*(\d+)(?:\.0+)?", look)
    return number[1] if number else look


def spelled(names: Collection[Any], others: Collection[Any]) -> str:
    """`` (did you mean …?)``, for a message, where the first name that looks like another is spelled otherwise."""
    by_look = {look_of(other): other for other in others}
    near = [by_look[look_of(name)] for name in names if by_look.get(look_of(name), name) != name]
    return f" (did you mean {near[0]!r}? capitals, blanks, zeros or Unicode forms differ)" if near else ""


def as_squares(
    base: Path, names: Sequence[str], notes: list[str], *, size: int | None, stream: bool | None, fit: str | None
) -> dict[str, Any]:
    """``size``, ``stream`` and ``fit`` of a set, by its pictures where None, and to ``notes`` what is lost by it.

    ValueError for ``stream=False`` without a size, unless all pictures are squares of one.
    """

    def look(name: str) -> tuple[tuple[int, int], bool] | None:
        with suppress(Exception), opened(base / name) as image:  # what is wrong with a file is said when it is read
            return image.size, is_deep(image)
        return None

    shapes, deep, first = Counter[tuple[int, int]](), 0, dict[tuple[int, int], str]()
    for name, seen in zip(names, each(look, names), strict=True):
        if seen is not None:
            shapes[seen[0]] += 1
            deep += seen[1]
            first.setdefault(seen[0], name)
    if deep:
        notes.append(
            f"{deep:,} of the pictures have more than 8 bits: each is brought to 8 by its own range, so that nothing "
            "is dark or cut off, and how bright it is as a whole is lost"
        )
    if size is None:
        size, *others = {side for shape in shapes for side in shape} or {SEEN}
        if others and stream is False:
            told = ", ".join(f"{name} ({width}x{height})" for (width, height), name in [*first.items()][:5])
            raise ValueError(
                f"images are no squares of one size: {told}; pass size=, the side in pixels that all are to have, or "
                "backbone= to start from a pretrained network"
            )
        if others:
            size, stream = SEEN, True
    lost = sum(number * (1 - min(shape) / max(shape)) for shape, number in shapes.items()) / max(1, shapes.total())
    fit = fit or ("stretch" if lost > MUCH else "crop")
    if lost > MUCH:
        notes.append(
            f"a centred square would lose {100 * lost:.0f} % of the pictures on average: fit={fit!r}; "
            "'crop' takes the middle, 'pad' and 'stretch' keep all"
        )
    elif lost and fit == "crop":
        of = f"of {len(shapes):,} sizes" if len(shapes) > 1 else "{}×{}".format(*min(shapes))
        notes.append(f"pictures are {of}: the middle square of each is looked at (fit='pad' keeps all)")
    return {"size": size, "stream": stream, "fit": fit}
