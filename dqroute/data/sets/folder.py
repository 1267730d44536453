"""Any set of photographs laid out as ``train/<class>/*`` and ``test/<class>/*``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from dqroute.data.draw import Draw
from dqroute.data.files.decoding import EXTENSIONS
from dqroute.data.files.listing import Listing, listed, set_of_files
from dqroute.data.files.reading import them
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
        flip: whether training may swap left and right; False for writing, and whatever else has a hand.

    Raises:
        FileNotFoundError: if the tree or a part of it is missing.
        ValueError: if classes or images do not fit together, an image cannot be read, the set is too large for
            ``stream=False``, or an argument is out of range.
    """
    if root is None:
        raise ValueError('the folder set needs a path: load("folder:PATH") or load("folder", root=PATH)')
    base = Path(root).expanduser()
    parts = {part: class_folders(base, part) for part in parts_of(base)}
    class_names = tuple(parts["train"])
    check_classes(parts)
    return set_of_files(
        # The folder's own name, not its path: it stands in captions and in the name of the run folders.
        base.resolve().name,
        base,
        {part: listing(base, part, class_names) for part in parts},
        class_names,
        Draw(imbalance, seed, groups, val, n_max, order),
        {"name": "folder", "version": 1},
        size=size,
        stream=stream,
        flip=flip,
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


def class_folders(base: Path, part: str) -> list[str]:
    """Names of the class folders of one part, sorted."""
    with os.scandir(base / part) as found:
        visible = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    refuse_dead_links(base, visible)
    folders = [entry.name for entry in visible if entry.is_dir()]
    if not folders:
        raise ValueError(f"{base / part} has no class folder; expected {part}/<class>/*")
    return folders


def refuse_dead_links(base: Path, entries: Iterable[os.DirEntry[str]]) -> None:
    """Raise ValueError for links that lead nowhere or in a circle: without them the set would silently be smaller."""
    dead = [Path(e.path).relative_to(base).as_posix() for e in entries if e.is_symlink() and not os.path.exists(e.path)]
    if dead:
        links, lead = ("links", "lead") if len(dead) > 1 else ("a link", "leads")
        raise ValueError(f"{base} has {links} that {lead} nowhere: {listed(dead)}; mend or remove {them(dead)}")


def check_classes(parts: dict[str, list[str]]) -> None:
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
    counts: list[int] = []

    def names() -> Iterator[str]:
        for name in class_names:
            images = images_of(base, base / part / name)
            if not images and part != "val":
                raise ValueError(
                    f"class {name!r} has no image in {part} ({', '.join(EXTENSIONS)}); add images or remove the class"
                )
            counts.append(len(images))
            yield from (f"{part}/{name}/{image}" for image in images)

    packed = list(names())
    return Listing(packed, torch.arange(len(class_names)).repeat_interleave(torch.tensor(counts)))


def images_of(base: Path, place: Path) -> list[str]:
    """Names of the image files of one class, sorted; none if there is no such folder."""
    if not place.is_dir():
        return []
    with os.scandir(place) as found:
        images = [e for e in found if not e.name.startswith(".") and e.name.lower().endswith(EXTENSIONS)]
    refuse_dead_links(base, images)
    return sorted(entry.name for entry in images if entry.is_file())
