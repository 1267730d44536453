"""Sets given as lists of files: ImageNet-LT, Places-LT, and any other."""

from __future__ import annotations

import gzip
import hashlib
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dqroute.core.checks import shown
from dqroute.data.draw import Draw
from dqroute.data.files.dividing import left_out
from dqroute.data.files.listing import Listing, as_squares, check_classes, set_of_files
from dqroute.data.files.reading import listed
from dqroute.data.image_set import ImageSet

PathLike = str | os.PathLike[str]
Lists = PathLike | Mapping[str, PathLike]
PREFIXES = {"imagenet-lt": "ImageNet_LT_", "places-lt": "Places_LT_"}  # of the lists' names
# Images, classes, largest and smallest class of the published training lists.
PUBLISHED = {"imagenet-lt": (115_846, 1000, 1280, 5), "places-lt": (62_500, 365, 4980, 5)}
DIGITS = 9  # of a label; more classes than that there are not
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def published(
    name: str,
    *,
    imbalance: None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: PathLike | None = None,
    lists: Lists | None = None,
    size: int = 224,
    stream: bool | None = None,
) -> ImageSet:
    """ImageNet-LT or Places-LT (Liu et al., 2019), from their published lists and images that are there.

    1,000 classes with 1,280 down to 5 of ImageNet's training images; 365 classes with 4,980 down to 5 of Places'.

    Args:
        name: ``"imagenet-lt"`` or ``"places-lt"``.
        imbalance: None; the lists are long-tailed already.
        seed, groups: see :class:`dqroute.data.draw.Draw`.
        val: None with the published validation list; with ``lists`` that leave it out, see ``Draw``, too.
        root: ImageNet's folder, which holds ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, or Places', which holds
            ``data_256`` and ``val_256``.
        lists: the folder with ``ImageNet_LT_train.txt`` (``Places_LT_train.txt``), ``…_val.txt`` and ``…_test.txt``, or
            ``.txt.gz``; ``root`` unless given. Or the three files: ``{"train": PATH, "val": PATH, "test": PATH}``.
        size, stream: see :func:`dqroute.data.sets.folder.folder`. Damaged images are not skipped, since their number
            is the protocol: fetch them again, or load the lists as any others, with ``"list:PATH"``.

    FileNotFoundError names lists or images that are missing, ValueError the lines of a list that are wrong.
    """
    if imbalance is not None:
        raise ValueError(f"{name} is long-tailed as it is published; leave imbalance={imbalance:g} out, or pass None")
    base, listings = read_lists(name, root, lists)
    counts = torch.bincount(listings["train"].labels)
    found, wanted = (int(counts.sum()), len(counts), int(counts.max()), int(counts.min())), PUBLISHED[name]
    if found != wanted:
        warnings.warn(
            f"the training list has {found[0]:,} images of {found[1]:,} classes, the published one of {name} "
            f"{wanted[0]:,} of {wanted[1]:,}: results do not compare with published ones",
            stacklevel=3,
        )
    class_names, draw = named_classes(None, listings["train"]), Draw(None, seed, groups, val)
    identity = identity_of(name, listings)
    return set_of_files(name, base, listings, class_names, draw, identity, size=size, stream=stream)


def list_set(
    *,
    imbalance: float | None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: PathLike | None = None,
    lists: Lists | None = None,
    class_names: PathLike | Sequence[str] | None = None,
    size: int | None = None,
    stream: bool | None = None,
    n_max: int | None = None,
    order: str | list[int] = "label",
    flip: bool = True,
    fit: str = "crop",
    skip_damaged: bool = False,
) -> ImageSet:
    """Any images in any folder, divided and labelled by lists: lines of ``path label``.

    Args:
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the folder that paths in the lists start from.
        lists: a folder with one list each whose name is ``train.txt`` or ends in ``_train.txt``, and ``test.txt`` or
            ``_test.txt`` (and ``val.txt`` or ``_val.txt``, if there is one; each also as ``.gz``); ``root`` unless
            given. Or the files themselves: ``{"train": PATH, "test": PATH}``.
        class_names: in label order, or a file with a name a line. Unless given, the folders that hold each class's
            training images, where every class has one of its own, and else the labels.
        size, stream, flip, fit, skip_damaged: see :func:`dqroute.data.sets.folder.folder`.

    Errors as for :func:`published`, and ValueError if the training or test list loses a class with what is skipped.
    """
    base, listings = read_lists("list", root, lists)
    name, notes = base.resolve().name, list[str]()
    if skip_damaged:
        without_damaged(name, base, listings, notes)
    names = [image for listing in listings.values() for image in listing.names]
    options = as_squares(base, names, notes, size=size, stream=stream, fit=fit) | {"flip": flip, "notes": notes}
    named, draw = named_classes(class_names, listings["train"]), Draw(imbalance, seed, groups, val, n_max, order)
    return set_of_files(name, base, listings, named, draw, identity_of("list", listings), **options)


def read_lists(name: str, root: PathLike | None, lists: Lists | None) -> tuple[Path, dict[str, Listing]]:
    """The folder that paths in a set's lists start from, and the lists, which fit each other."""
    if root is None:
        raise ValueError(
            f'{name} needs the folder that paths in its lists start from: load("{name}:PATH") or '
            f'load("{name}", root=PATH, lists=PATH)'
        )
    base = Path(root).expanduser()
    if not base.is_dir():
        raise FileNotFoundError(f"there is no folder {base}; give the one that paths in the lists start from")
    files = list_files(base if lists is None else lists, PREFIXES.get(name))
    listings = {part: read_list(file) for part, file in files.items()}
    check_fit(listings, files)
    return base, listings


def identity_of(name: str, listings: dict[str, Listing]) -> dict[str, Any]:
    """What decides which images these are, beside their files."""
    labels = b"".join(part.encode() + listings[part].labels.numpy().tobytes() for part in sorted(listings))
    return {"name": name, "version": 1, "labels": hashlib.sha256(labels).hexdigest()}


def without_damaged(name: str, base: Path, listings: dict[str, Listing], notes: list[str]) -> None:
    """Leave out of the listings what cannot be read, which ``notes`` is told; ValueError if a class is lost by it."""
    bad = left_out(name, base, [image for listing in listings.values() for image in listing.names], notes)
    for part, listing in listings.items():
        kept = listing.where(torch.tensor([image not in bad for image in listing.names], dtype=torch.bool))
        lost = sorted({*listing.labels.tolist()} - {*kept.labels.tolist()})
        if lost and not (part == "val" and kept.names):
            told = f"{notes[-1]}; no {part} image of label {listed(lost)} is left"
            raise ValueError(f"{told}: mend one, or take the class out of the lists")
        listings[part] = kept


def check_fit(listings: dict[str, Listing], files: dict[str, Path]) -> None:
    """Raise ValueError unless labels run from 0 without gaps, parts have the same, and no image is in two parts."""
    classes = {part: listing.labels.unique().tolist() for part, listing in listings.items()}
    found = classes["train"]
    if found[-1] >= len(found):
        gap = next(label for label, there in enumerate(found) if there != label)
        raise ValueError(
            f"{files['train']} has {len(found):,} classes, and labels up to {found[-1]:,}: label {gap} has no image; "
            "number the classes from 0 without gaps"
        )
    check_classes(classes, files, "label")
    if len(found) < 2:
        raise ValueError(f"{files['train']} has label {found[0]} alone; there must be two classes at least")
    first: dict[str, Path] = {}
    for part, listing in listings.items():
        for image in listing.names:
            if first.setdefault(image, files[part]) != files[part]:
                raise ValueError(f"{image!r} stands in {first[image]} and in {files[part]}; remove it from one of them")


def list_files(lists: Lists, prefix: str | None) -> dict[str, Path]:
    """The list of each part there is: as given, or found in a folder by what its name begins with (None: anything)."""
    if isinstance(lists, Mapping):
        unknown = [part for part in lists if part not in ("train", "val", "test")]
        missing = [part for part in ("train", "test") if part not in lists]
        if unknown or missing:
            wrong = f"has {listed(unknown)}" if unknown else f"has no {listed(missing)}"
            raise ValueError(f"lists {wrong}; it names the files of train and test, and perhaps of val")
        return {part: Path(file).expanduser() for part, file in lists.items()}
    place = Path(lists).expanduser()
    if not place.is_dir():
        raise FileNotFoundError(f"there is no folder {place}; give lists= the folder that holds the lists")
    files = {}
    for part in ("train", "val", "test"):
        stems = [f"{prefix}{part}"] if prefix else [part, f"*_{part}"]
        fitting = sorted(file for stem in stems for end in (".txt", ".txt.gz") for file in place.glob(stem + end))
        if len(fitting) > 1:
            names = ", ".join(file.name for file in fitting)
            raise ValueError(f'{place} has {names}; name the one to take: lists={{"{part}": PATH, …}}')
        if fitting:
            files[part] = fitting[0]
        elif part != "val":
            wanted = f"{prefix or '[…_]'}{part}.txt"
            raise FileNotFoundError(
                f"{place} has no {wanted} or {wanted}.gz; put it there, or name the lists' folder or files with lists="
            )
    return files


def named_classes(given: PathLike | Sequence[str] | None, train: Listing) -> tuple[str, ...]:
    """The classes' names; see :func:`list_set`. ValueError unless there is one name for each class."""
    number = int(train.labels.max()) + 1
    if given is None:
        return folders_of_classes(train) or tuple(map(str, range(number)))
    if isinstance(given, (str, os.PathLike)):
        given = [os.fsdecode(line).strip() for _, line in numbered_lines(Path(given).expanduser())]
    names = tuple(map(str, given))
    if not len(names) == len(set(names)) == number:
        raise ValueError(f"there are {number:,} classes, and {len(set(names)):,} different class names were given")
    return names


def folders_of_classes(train: Listing) -> tuple[str, ...] | None:
    """The folder that holds all images of a class, for each, without what they share; None if two are the same."""
    members: dict[int, set[str]] = {}
    for name, label in zip(train.names, train.labels.tolist(), strict=True):
        members.setdefault(label, set()).add(os.path.dirname(name))
    folders = [os.path.commonpath(members[label]) for label in sorted(members)]
    if len(folders) == 1 or "" in folders or len(set(folders)) < len(folders):
        return None
    names = tuple(os.path.relpath(folder, os.path.commonpath(folders) or None) for folder in folders)
    return None if "." in names else names


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
            raise ValueError(f"{file} lists {name!r} in lines {lines[name]} and {number}; remove one of them")
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
                text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                if text.strip():
                    yield number, text.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot read {file} ({error}); fetch or unpack it again") from error


def parsed(line: bytes) -> tuple[str, int]:
    """Path and label of one line; ValueError tells what is wrong with it."""
    start, *rest = line.rsplit(None, 1)
    name, label = os.fsdecode(start), rest[0] if rest else b""
    if not label.isdigit() or len(label) > DIGITS:
        told = f"label {shown(os.fsdecode(label))} is no class index from 0"
        raise ValueError(told if rest else f"{shown(name)}: no label")
    if "\0" in name:
        raise ValueError(f"{shown(name)} is no path")
    if os.path.isabs(name):
        raise ValueError(f"{shown(name)} does not start below the images' folder")
    if "./" in name or "//" in name:
        # One name for one file, so that it is found again in another list.
        name = os.path.normpath(name).replace(os.sep, "/")
        if name == ".." or name.startswith("../"):
            raise ValueError(f"{shown(name)} leads out of the images' folder")
    return name, int(label)
