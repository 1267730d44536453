"""Any set of photographs laid out as ``train/<class>/*`` and ``test/<class>/*``."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dqroute.data.draw import Draw
from dqroute.data.files.decoding import EXTENSIONS
from dqroute.data.files.listing import Listing, check_classes, set_of_files
from dqroute.data.files.reading import listed
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
    order: str = "label",
    flip: bool = True,
) -> ImageSet:
    """A tree of images on disk, as it is or thinned to a profile; only the images drawn are decoded.

    A set that fits into memory is decoded once, to centred squares. A larger one is left in its files and decoded
    along the way (streamed): training then takes random parts of whole pictures, resized
    (:class:`~dqroute.data.ResizedCrop`), evaluation the same centred squares.

    Classes are the folders of ``train``, in sorted order. A ``val`` folder beside ``train`` becomes the validation
    split. What begins with a dot, and files that are no images by their extension, are ignored.

    Args:
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the folder that holds ``train`` and ``test``.
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
        raise FileNotFoundError(f"there is no folder {base}; give the path of the folder that holds train and test")
    if missing := [part for part in ("train", "test") if not (base / part).is_dir()]:
        raise FileNotFoundError(
            f"{base} has no {' and no '.join(missing)} folder; expected train/<class>/* and test/<class>/*"
        )
    parts = {part: images_by_class(base, part) for part in ("train", "test", "val") if (base / part).is_dir()}
    check_classes(parts, {part: part for part in parts}, "class")
    class_names = tuple(parts["train"])
    listings = {}
    for part, images in parts.items():
        members = [images.get(name, []) for name in class_names]
        labels = torch.arange(len(members)).repeat_interleave(torch.tensor([len(names) for names in members]))
        listings[part] = Listing([name for names in members for name in names], labels)
    draw, identity = Draw(imbalance, seed, groups, val, n_max, order), {"name": "folder", "version": 1}
    # The folder's own name, not its path: it stands in captions and in the name of the run folders.
    name = base.resolve().name
    return set_of_files(name, base, listings, class_names, draw, identity, size=size, stream=stream, flip=flip)


def images_by_class(base: Path, part: str) -> dict[str, list[str]]:
    """The image files of one part, below ``base``, by class, both sorted."""
    folders = [entry.name for entry in visible(base, part) if entry.is_dir()]
    if not folders:
        raise ValueError(f"{base / part} has no class folder; expected {part}/<class>/*")
    images = {}
    for name in folders:
        place = f"{part}/{name}"
        images[name] = [f"{place}/{entry.name}" for entry in visible(base, place, EXTENSIONS) if entry.is_file()]
    if part != "val" and (empty := [name for name in folders if not images[name]]):
        raise ValueError(
            f"class {listed(empty)} has no image in {part} ({', '.join(EXTENSIONS)}); add images or remove the class"
        )
    return images


def visible(base: Path, place: str, endings: tuple[str, ...] = ("",)) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted; ValueError for links to nowhere, without which the set would silently be smaller."""
    with os.scandir(base / place) as found:
        shown = [e for e in found if not e.name.startswith(".") and e.name.lower().endswith(endings)]
    if dead := [f"{place}/{entry.name}" for entry in shown if entry.is_symlink() and not os.path.exists(entry.path)]:
        raise ValueError(f"{base} has links that lead nowhere: {listed(dead)}; mend or remove them")
    return sorted(shown, key=lambda entry: entry.name)
