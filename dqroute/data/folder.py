"""Any set of photographs laid out as ``train/<class>/*`` and ``test/<class>/*``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqroute.data.decoding import EXTENSIONS, check_memory, common_side, decode, fits_memory
from dqroute.data.file_split import FileSplit, entry
from dqroute.data.image_set import Augmentation, ImageSet, ResizedCrop, Split
from dqroute.data.splits import class_groups, long_tailed_split


@dataclass(frozen=True)
class Listing:
    """The images of one part of a tree: files in sorted order, and int64 ``[N]`` class indices."""

    files: list[Path]
    labels: Tensor


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
) -> ImageSet:
    """A tree of images on disk, as it is or thinned to a profile; only the images drawn are decoded.

    A set that fits into memory is decoded once, to centred squares. A larger one is left in its files and decoded
    along the way (streamed): training then takes random parts of whole pictures, resized
    (:class:`~dqroute.data.ResizedCrop`), evaluation the same centred squares.

    Classes are the folders of ``train``, in sorted order. A ``val`` folder beside ``train`` becomes the validation
    split. Files and folders whose name begins with a dot, and files that are no images by their extension, are
    ignored.

    Args:
        imbalance, seed, groups, val: see :func:`dqroute.load`.
        root: the folder that holds ``train`` and ``test``.
        size: side in pixels to which images are cropped (centred square) and resized. Not needed when all images
            are squares of one size.
        stream: whether to leave images in their files; None does so if they would take more than 8 GiB of memory.
            Streamed images that differ in size are resized even without ``size``, and a file that cannot be read is
            found when it is its turn.
        n_max: training images of the largest class when thinned to a profile.
        order: ``"label"`` or ``"count"``, see :func:`dqroute.data.splits.head_to_tail`.

    Raises:
        FileNotFoundError: if the tree or a part of it is missing.
        ValueError: if classes or images do not fit together, an image cannot be read, the set is too large for
            ``stream=False``, or an argument is out of range.
    """
    if root is None:
        raise ValueError('the folder set needs a path: load("folder:PATH") or load("folder", root=PATH)')
    if size is not None and size < 1:
        raise ValueError(f"size is the side of the images in pixels, at least 1; got {size}")
    base = Path(root).expanduser()
    parts = {part: class_folders(base, part) for part in parts_of(base)}
    class_names = tuple(parts["train"])
    check_classes(parts)
    listings = {part: listing(base, part, class_names) for part in parts}
    if "val" in listings and val is not None:
        raise ValueError(f"{base} has a val folder already; leave val={val} out, or move that folder away")

    split = long_tailed_split(
        listings["train"].labels, class_names, imbalance=imbalance, val=val, seed=seed, n_max=n_max, order=order
    )
    chosen = {"train": taken(listings["train"], split.train), "test": listings["test"]}
    if split.val is not None:
        chosen["val"] = taken(listings["train"], split.val)
    elif "val" in listings:
        chosen["val"] = listings["val"]
    everything = [file for part in chosen.values() for file in part.files]
    side = common_side(everything, base) if size is None else size
    if stream is None:
        stream = not fits_memory(len(everything), side)
    splits: dict[str, Any] = left(chosen, base, side) if stream else read(chosen, base, side, exact=size is None)
    return ImageSet(
        # The folder's own name, not its path: it stands in captions and in the name of the run folders.
        name=base.resolve().name,
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        class_names=class_names,
        groups=class_groups(split, groups),
        augmentation=ResizedCrop() if stream else Augmentation(padding=max(1, side // 8), flip=True),
        identity={
            "name": "folder",
            "version": 1,
            "files": digest(listings, base),
            "imbalance": imbalance,
            "seed": seed,
            "val": val,
            "groups": groups,
            "size": side,
            "n_max": n_max,
            "order": order,
        }
        # Not where it is False, so that sets in memory keep the identity they had before there was a choice.
        | ({"stream": True} if stream else {}),
    )


def parts_of(base: Path) -> list[str]:
    """The parts a tree has: ``train``, ``test`` and perhaps ``val``."""
    if not base.is_dir():
        raise FileNotFoundError(f"there is no folder {base}; give the path of the folder that holds train and test")
    missing = [part for part in ("train", "test") if not (base / part).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{base} has no {' and no '.join(missing)} folder; expected train/<class>/* and test/<class>/*"
        )
    return ["train", "test"] + (["val"] if (base / "val").is_dir() else [])


def class_folders(base: Path, part: str) -> dict[str, Path]:
    """Class folders of one part by name, sorted."""
    folders = {
        entry.name: Path(entry.path)
        for entry in sorted(os.scandir(base / part), key=lambda entry: entry.name)
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not folders:
        raise ValueError(f"{base / part} has no class folder; expected {part}/<class>/*")
    return folders


def check_classes(parts: dict[str, dict[str, Path]]) -> None:
    """Raise ValueError unless test has exactly the classes of train, and val no others."""
    train = parts["train"]
    for part in parts:
        unknown = [name for name in parts[part] if name not in train]
        if unknown:
            raise ValueError(
                f"{part} has class {listed(unknown)} that train has not; add training images or remove the folder"
            )
    untested = [name for name in train if name not in parts["test"]]
    if untested:
        raise ValueError(
            f"train has class {listed(untested)} that test has not; add test images or remove the folder from train"
        )


def listing(base: Path, part: str, class_names: Sequence[str]) -> Listing:
    """The image files of one part, class by class."""
    found: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        place = base / part / name
        images = sorted(
            entry.name
            for entry in (os.scandir(place) if place.is_dir() else ())
            if not entry.name.startswith(".") and entry.name.lower().endswith(EXTENSIONS) and entry.is_file()
        )
        if not images and part != "val":
            raise ValueError(
                f"class {name!r} has no image in {part} ({', '.join(EXTENSIONS)}); add images or remove the class"
            )
        found += [place / image for image in images]
        labels += [label] * len(images)
    return Listing(found, torch.tensor(labels, dtype=torch.int64))


def taken(pool: Listing, indices: Tensor) -> Listing:
    """The part of a listing at the given indices."""
    return Listing([pool.files[i] for i in indices.tolist()], pool.labels[indices])


def left(chosen: dict[str, Listing], base: Path, side: int) -> dict[str, FileSplit]:
    """What was chosen, left in its files."""
    return {
        part: FileSplit(base, tuple(file.relative_to(base).as_posix() for file in listing.files), listing.labels, side)
        for part, listing in chosen.items()
    }


def read(chosen: dict[str, Listing], base: Path, side: int, *, exact: bool) -> dict[str, Split]:
    """Decode what was chosen, all parts to one size; with ``exact``, refuse images of another."""
    everything = [file for part in chosen.values() for file in part.files]
    check_memory(len(everything), side)
    images = decode(everything, side, base, exact=exact)
    lengths = [len(part.files) for part in chosen.values()]
    return {
        part: Split(pixels, chosen[part].labels) for part, pixels in zip(chosen, images.split(lengths), strict=True)
    }


def digest(listings: dict[str, Listing], base: Path) -> str:
    """SHA-256 over the relative names and byte sizes of all images there are to choose from."""
    total = hashlib.sha256()
    for part in sorted(listings):
        for file in listings[part].files:
            total.update(entry(file.relative_to(base).as_posix(), file))
    return total.hexdigest()


def listed(names: Sequence[str]) -> str:
    """Up to five names and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more
