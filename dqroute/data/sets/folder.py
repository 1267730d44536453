"""Any folder of photographs: class folders, alone or below ``train`` and ``test``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dqroute.data.draw import Draw
from dqroute.data.files.dividing import own_set
from dqroute.data.files.listing import check_classes
from dqroute.data.files.tree import named_folder, read_tree
from dqroute.data.image_set import ImageSet


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
    order: str | list[int] = "label",
    flip: bool = True,
    test: float | None = None,
    group_by: str | float | bool | None = None,
    fit: str | None = None,
    skip_damaged: bool = False,
) -> ImageSet:
    """A tree of images on disk, as it is or thinned to a profile; only the images drawn are decoded.

    A set that fits into memory is decoded once, to centred squares. A larger one is left in its files and decoded
    along the way (streamed): training then takes random parts of whole pictures, resized
    (:class:`~dqroute.data.ResizedCrop`), evaluation the same centred squares.

    A folder holds ``train/<class>/…`` and ``test/<class>/…``, perhaps ``val/<class>/…`` (or ``valid``, in any
    capitals); or class folders alone, of which a share is held out for testing. Classes are in sorted order, and their
    pictures may lie deeper. Pictures of more than 8 bits are brought to 8 by their own range
    (:func:`dqroute.data.files.depth.to_8_bits`). Pictures that stand in two parts or two classes are named in a
    warning, by content; what was left out, such as classes without a picture, and what was held out, in the set's
    ``notes``.

    Args:
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the folder that holds the parts, or the classes.
        test: share of each class that is held out for testing where there is no test folder, 0.2 unless given; at least
            one image of a class that has two. With groups near that share of all, as whole ones go, and a class may
            have none. Which, the pictures' content and the seed decide, or their groups' names:
            a class that comes moves none, and pictures that come move few. 0 holds nothing out: all images train, and
            :func:`dqroute.evaluate` reports what heads said of each that never saw it.
        group_by: which pictures belong together, and are never on both sides of a division: a regular expression on the
            path, or seconds between photographs; see :func:`dqroute.data.files.together.together_by`.
            None or False: each stands alone.
        fit: how a picture becomes a square: ``"crop"`` takes its middle, ``"pad"`` puts it between grey bars, and
            ``"stretch"`` takes it whole, out of proportion; None crops, unless much would be lost.
        size: side in pixels to which images are cropped (centred square) and resized; unless given that of the images,
            if all are squares of one size, else 160.
        stream: whether to leave images in their files; None does so if they would take more than 8 GiB of memory, or
            differ in size and none is given.
            Streamed images that differ in size are resized even without ``size``, and files that cannot be read are
            found when training begins, all together, before its first epoch.
        skip_damaged: whether to look through all files now, and leave out and name those that cannot be read: the set
            is then the one that it would be without them.
        flip: whether training may swap left and right; False for writing, and whatever else has a hand.

    FileNotFoundError if a part of the tree is missing; ValueError if classes or images do not fit together, an image
    cannot be read, or the set is too large for ``stream=False``.
    """
    if root is None:
        raise ValueError('the folder set needs a path: load("folder:PATH") or load("folder", root=PATH)')
    base = Path(root).expanduser()
    if not base.is_dir():
        raise FileNotFoundError(f"there is no folder {base}; give the path of the folder that holds the class folders")
    base = named_folder(base)
    parts, notes = read_tree(base)
    # The folder's own name, not its path: it stands in captions and in the name of the run folders.
    name = base.resolve().name
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
        notes.append("the val folder is what is tested on: there is no test folder")
    if "test" in parts:
        held = {part: [of for of, files in images.items() if files] for part, images in parts.items()}
        check_classes(held, {part: part for part in parts}, "class")
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    options: dict[str, Any] = {"size": size, "stream": stream, "fit": fit, "flip": flip, "skip_damaged": skip_damaged}
    one = f"{base} must hold a folder for each, and is a level too deep or too high, perhaps"
    identity = {"name": "folder", "version": 1}
    return own_set(name, base, parts, draw, identity, notes, one, test=test, group_by=group_by, **options)
