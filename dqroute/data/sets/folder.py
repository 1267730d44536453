"""Any folder of photographs: class folders, alone or below ``train`` and ``test``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import checked_range
from dqroute.data.draw import Draw
from dqroute.data.files.copies import leaks
from dqroute.data.files.holding_out import held_out
from dqroute.data.files.listing import Listing, check_classes, set_of_files
from dqroute.data.files.reading import listed
from dqroute.data.files.together import shared, together_by
from dqroute.data.files.tree import read_tree
from dqroute.data.image_set import ImageSet

TEST = 0.2  # share of each class that is held out for testing, where there are no test images


def folder(
    *,
    imbalance: float | None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: str | os.PathLike[str] | None = None,
    size: int | None = None,
    stream: bool | None = None,
    n_max: int | None = None,
    order: str = "label",
    flip: bool = True,
    test: float | None = None,
    group_by: str | float | None = None,
) -> ImageSet:
    """A tree of images on disk, as it is or thinned to a profile; only the images drawn are decoded.

    A set that fits into memory is decoded once, to centred squares. A larger one is left in its files and decoded
    along the way (streamed): training then takes random parts of whole pictures, resized
    (:class:`~dqroute.data.ResizedCrop`), evaluation the same centred squares.

    A folder holds ``train/<class>/…`` and ``test/<class>/…``, perhaps ``val/<class>/…`` (or ``valid``, in any
    capitals); or class folders alone, of which a share is held out for testing. Classes are in sorted order, and their
    pictures may lie deeper. Pictures that stand in two parts or two classes are named in a warning, by content; what
    was left out, and what was held out, in the set's ``notes``.

    Args:
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the folder that holds the parts, or the classes.
        test: share of each class that is held out for testing where there is no test folder, 0.2 unless given; at least
            one image of a class that has two.
        group_by: which pictures belong together, and are never on both sides of a division: a regular expression on the
            path, or seconds between photographs; see :func:`dqroute.data.files.together.together_by`.
        size: side in pixels to which images are cropped (centred square) and resized. Not needed when all images
            are squares of one size.
        stream: whether to leave images in their files; None does so if they would take more than 8 GiB of memory.
            Streamed images that differ in size are resized even without ``size``, and a file that cannot be read is
            found when it is its turn.
        flip: whether training may swap left and right; False for writing, and whatever else has a hand.

    FileNotFoundError if a part of the tree is missing; ValueError if classes or images do not fit together, an image
    cannot be read, or the set is too large for ``stream=False``.
    """
    if root is None:
        raise ValueError('the folder set needs a path: load("folder:PATH") or load("folder", root=PATH)')
    base = Path(root).expanduser()
    if not base.is_dir():
        raise FileNotFoundError(f"there is no folder {base}; give the path of the folder that holds the class folders")
    parts, notes = read_tree(base)
    # The folder's own name, not its path: it stands in captions and in the name of the run folders.
    name = base.resolve().name
    for part in parts.keys() - {"val"}:
        if empty := [of for of, files in parts[part].items() if not files]:
            raise ValueError(f"class {listed(empty)} has no image in {part}; add images or remove the class")
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
        notes.append("the val folder is what is tested on: there is no test folder")
    if test is not None and "test" in parts:
        raise ValueError(f"{name} has test images of its own; leave test={test} out, or take those away")
    check_classes(parts, {part: part for part in parts}, "class") if "test" in parts else None
    class_names = tuple(parts["train"])
    listings = {}
    for part, images in parts.items():
        members = [images.get(of, []) for of in class_names]
        labels = torch.arange(len(members)).repeat_interleave(torch.tensor([len(files) for files in members]))
        listings[part] = Listing([file for files in members for file in files], labels)
    together = groups_of(group_by, base, listings)
    identity: dict[str, Any] = {"name": "folder", "version": 1}
    if "test" not in listings:
        identity["test"] = checked_range("test", TEST if test is None else test, 0.01, 0.9)
        together = hold_out("test", identity["test"], listings, together, class_names, seed, notes)
    if together is not None and isinstance(val, float):
        identity |= {"held_out": val}
        together, val = hold_out("val", val, listings, together, class_names, seed, notes), None
    elif together is not None and val is not None:
        raise ValueError(f"with group_by, val is a share of each class, as in val=0.2; got {val}")
    if group_by is not None:
        identity["group_by"] = group_by
    for said in leaks(base, listings, class_names):
        warnings.warn(said, stacklevel=3)
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    options: dict[str, Any] = {"size": size, "stream": stream, "flip": flip, "together": together, "notes": notes}
    return set_of_files(name, base, listings, class_names, draw, identity, **options)


def groups_of(group_by: str | float | None, base: Path, listings: dict[str, Listing]) -> Tensor | None:
    """The group of each training picture, int64 ``[N]``; a warning says which parts share groups."""
    if group_by is None:
        return None
    names = [name for listing in listings.values() for name in listing.names]
    ids = together_by(group_by, base, names).split([len(listing.names) for listing in listings.values()])
    by_part = dict(zip(listings, ids, strict=True))
    for (one, other), number in shared({part: of.tolist() for part, of in by_part.items()}).items():
        leak = f"{number:,} groups of pictures (group_by) are in {one} and in {other}"
        warnings.warn(f"{leak}: what is measured there is partly memory", stacklevel=4)
    return by_part["train"]


def hold_out(
    part: str,
    share: float,
    listings: dict[str, Listing],
    together: Tensor | None,
    class_names: tuple[str, ...],
    seed: int,
    notes: list[str],
) -> Tensor | None:
    """Move a share of the training pictures into a part of its own; returns the groups of those that stay."""
    names, labels = listings["train"]
    out = held_out(labels, share, together, seed)
    for of, mask in (("train", ~out), (part, out)):
        listings[of] = Listing([names[i] for i in mask.nonzero().flatten().tolist()], labels[mask])
    whole = ", whole groups" if together is not None else ""
    notes.append(f"{int(out.sum()):,} of {len(names):,} pictures are held out as {part} (seed {seed}{whole})")
    if none := [name for c, name in enumerate(class_names) if not (labels[out] == c).any()]:
        notes.append(f"no picture of {listed(none)} is among them: there is one alone, or all belong together")
    return None if together is None else together[~out]
