"""From files and their labels to an image set: what trees and lists of images have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from dqroute.data.draw import Draw
from dqroute.data.files.decoding import check_memory, common_side, decode, fits_memory
from dqroute.data.files.names import Names
from dqroute.data.files.sizes import entries
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import Augmentation, ImageSet, ResizedCrop, Split


@dataclass(frozen=True)
class Listing:
    """The images of one part of a set: names of files below the set's folder, and int64 ``[N]`` class indices."""

    names: Names
    labels: Tensor

    def taken(self, indices: Tensor) -> Listing:
        """The images at the given indices."""
        return Listing(self.names.take(indices.tolist()), self.labels[indices])


def set_of_files(
    name: str,
    base: Path,
    listings: dict[str, Listing],
    class_names: tuple[str, ...],
    draw: Draw,
    identity: dict[str, Any],
    *,
    size: int | None,
    stream: bool | None,
    flip: bool = True,
) -> ImageSet:
    """Draw the training split and read its images, or leave them in their files.

    Args:
        name: of the set.
        base: the folder that the listings' names are relative to.
        listings: ``train`` is the pool that is drawn from; ``test``, and perhaps ``val``, are taken whole.
        class_names: in label order.
        draw: what is asked of the draw from ``train``.
        identity: what kind of set this is, and what decides its images beside the other arguments and the files.

    The other arguments are those of :func:`dqroute.data.sets.folder.folder`.

    Raises:
        FileNotFoundError: naming files that are missing, and how many there are.
        ValueError: if an image cannot be read, the set is too large for ``stream=False``, or an argument is out of
            range.
    """
    if size is not None and size < 1:
        raise ValueError(f"size is the side of the images in pixels, at least 1; got {size}")
    if "val" in listings and draw.val is not None:
        raise ValueError(f"{name} has validation images of its own; leave val={draw.val} out, or take those away")
    files = digest(listings, base)
    pool = listings["train"]
    split = draw.split(pool.labels, class_names)
    chosen = listings | {"train": pool.taken(split.train)}
    if split.val is not None:
        chosen["val"] = pool.taken(split.val)
    number = sum(len(part.names) for part in chosen.values())
    if size is None:
        side = common_side(list(Names(chain.from_iterable(part.names[:128] for part in chosen.values()))), base)
    else:
        side = size
    if stream is None:
        stream = not fits_memory(number, side)
    splits: dict[str, Any] = left(chosen, base, side) if stream else read(chosen, base, side, exact=size is None)
    return ImageSet(
        name=name,
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        class_names=class_names,
        groups=draw.groups_of(split),
        augmentation=ResizedCrop(flip=flip) if stream else Augmentation(padding=max(1, side // 8), flip=flip),
        identity=identity
        | draw.identity
        | {"files": files, "size": side}
        # Not where it is False, so that sets in memory keep the identity they had before there was a choice.
        | ({"stream": True} if stream else {}),
    )


def left(chosen: dict[str, Listing], base: Path, side: int) -> dict[str, FileSplit]:
    """What was chosen, left in its files."""
    return {part: FileSplit(base, listing.names, listing.labels, side) for part, listing in chosen.items()}


def read(chosen: dict[str, Listing], base: Path, side: int, *, exact: bool) -> dict[str, Split]:
    """Decode what was chosen, all parts to one size; with ``exact``, refuse images of another."""
    everything = Names(chain.from_iterable(part.names for part in chosen.values()))
    check_memory(len(everything), side)
    images = decode(everything, side, base, exact=exact)
    lengths = [len(part.names) for part in chosen.values()]
    return {
        part: Split(pixels, chosen[part].labels) for part, pixels in zip(chosen, images.split(lengths), strict=True)
    }


def digest(listings: dict[str, Listing], base: Path) -> str:
    """SHA-256 over the relative names and byte sizes of all images there are to choose from.

    Raises:
        FileNotFoundError: naming files that are missing, and how many there are.
    """
    total = hashlib.sha256()
    remedy = "restore what is missing, or give root= the folder that these paths start from"
    for entry in entries(base, [listings[part].names for part in sorted(listings)], remedy):
        total.update(entry)
    return total.hexdigest()


def listed(names: Sequence[object]) -> str:
    """Up to five names and how many more there are."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more
