"""A folder of pictures as people have it: which folders are parts, which are classes, and what is no picture."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path

from dqroute.data.files.decoding import HEIF, HEIF_ENDINGS, extensions
from dqroute.data.files.reading import listed
from dqroute.data.markup import number_of

# Names of the parts' folders, in small letters.
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation"), "val")
# Files that hold pictures which may not be readable here; what else is left out is no loss.
PICTURES = {*HEIF_ENDINGS, ".avif", ".jp2", ".jxl", ".psd", ".svg", ".eps", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
SPECIAL = "not a plain file"  # pipes, sockets, devices, whatever their names
PICTURES |= {".raw", ".orf", ".rw2", ".dcm", ".mp4", ".mov", ".avi", SPECIAL}


def read_tree(base: Path) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """The pictures of a folder: ``train/<class>/…`` and ``test/<class>/…``, or class folders alone.

    Parts may be called train, test, val, valid, validation in any capitals; a class, too, beside others. Pictures may
    lie deeper in a class's folder. What begins with a dot is passed over; what is no picture by its name is counted,
    and a warning names pictures of kinds that cannot be read here.

    Returns:
        Of each part, ``"train"`` and perhaps ``"val"`` and ``"test"``, the picture files of each class, below the
        folder, sorted; and what a user should be told, in sentences.

    Raises:
        ValueError: if there is no class folder, or a link leads nowhere.
    """
    folders, files = inside(base, "")
    named = {PARTS[name.lower()]: name for name in folders if name.lower() in PARTS}
    if twice := [name for name in folders if name.lower() in PARTS and named[PARTS[name.lower()]] != name]:
        both = listed([named[PARTS[twice[0].lower()]], *twice])
        raise ValueError(f"{base} has {both} for one part; leave one of them")
    notes: list[str] = []
    if 0 < len(named) < len(folders) and not any(inside(base, name)[0] for name in named.values()):
        notes.append(f"{listed([*named.values()])}, without class folders, are taken for classes as the others are")
        named = {}
    if named and "train" not in named:
        raise ValueError(f"{base} has {listed([*named.values()])} and no train folder; expected train/<class>/*")
    left = Counter(files.values() if named else ())
    places: dict[str, str] = {part: named[part] for part in ("train", "val", "test") if part in named} or {"train": ""}
    parts = {part: by_class(base, place, left, notes) for part, place in places.items()}
    if named and (others := [name for name in folders if name not in named.values()]):
        notes.append(f"beside {listed([*named.values()])} the folders {listed(others)} are left out")
    # Told apart from what is no picture: it may have been meant.
    if stray := sum(left.pop(end, 0) for end in extensions()):
        notes.append(number_of(stray, "pictures lie in no class's folder and are left out"))
    if left:
        told = ", ".join(f"{number:,} {end or 'without an ending'}" for end, number in sorted(left.items()))
        notes.append(f"{number_of(sum(left.values()), 'files that are no pictures are left out')} ({told})")
    warn_of_unread(base.name, left, level=5)
    return parts, notes


def named_folder(folder: Path) -> Path:
    """The folder by a path that ends in its name, as ``.`` and ``..`` do not; for messages."""
    return folder.resolve() if folder.name in ("", "..") else folder


def warn_of_unread(name: str, left: Counter[str], level: int) -> None:
    """Warn of pictures of kinds that cannot be read here, by how their names end, and say what would read them."""
    if unread := {end: left[end] for end in sorted(left) if end in PICTURES}:
        told = ", ".join(f"{number:,} {end}" for end, number in unread.items())
        more = f"; {HEIF} reads {' and '.join(sorted(heif))}" if (heif := unread.keys() & HEIF_ENDINGS) else ""
        warnings.warn(f"{name}: files of kinds that are not read here are left out: {told}{more}", stacklevel=level)


def by_class(base: Path, part: str, left: Counter[str], notes: list[str]) -> dict[str, list[str]]:
    """The picture files of one part by class, sorted; what else there is is counted in ``left``."""
    folders, files = inside(base, part)
    left.update(files.values())
    if not folders:
        called, number = part or base.name, sum(kind in extensions() for kind in files.values())
        here = f"; {number_of(number, 'pictures lie')} in it itself"
        above = f": load the folder above, {base.absolute().parent}, if {called} is one class of several" * (not part)
        raise ValueError(
            f"{base / part} has no class folder; expected {called}/<class>/*{(here + above) * (number > 0)}"
        )
    images, deeper, below = dict[str, list[str]](), 0, Counter[str]()
    for name in folders:
        place = f"{part}/{name}" if part else name
        images[name] = sorted(pictures(base, place, left))
        ways = [image.removeprefix(f"{place}/").partition("/") for image in images[name]]
        deep = [folder for folder, slash, _ in ways if slash]
        deeper += len(deep)
        below.update(dict.fromkeys(deep, 1))
    if deeper:
        of = f"{listed([*below])}; are those the classes? then move them up, or load a table of paths and labels"
        own = len(below) > len(folders) and max(below.values()) == 1  # no name stands in two classes
        taken = number_of(deeper, "pictures lie deeper in their class's folder and are taken in")
        notes.append(taken + own * f", from {of}")
    return images


def pictures(base: Path, place: str, left: Counter[str], above: tuple[str, ...] = ()) -> list[str]:
    """The picture files below a folder, however deep; what else there is is counted in ``left``."""
    # By the absolute path: above ``.`` stands ``.`` itself, as a path has it.
    real, around = os.path.realpath(base / place), os.path.realpath(os.path.dirname(os.path.abspath(base / place)))
    if real in above or f"{around}{os.sep}".startswith(f"{real}{os.sep}"):  # a link that leads in a circle
        return []
    folders, files = inside(base, place)
    left.update(kind for kind in files.values() if kind not in extensions())
    found = [f"{place}/{name}" for name, kind in files.items() if kind in extensions()]
    return found + [file for name in folders for file in pictures(base, f"{place}/{name}", left, (*above, real))]


def inside(base: Path, place: str) -> tuple[list[str], dict[str, str]]:
    """The folders in a folder, sorted, and how its files' names end, in small letters; ``SPECIAL`` of what is no file.

    What begins with a dot is passed over. A link to nowhere is a file that is missed when it is read; ValueError for
    such without an ending, which may have been those of folders.
    """
    folders, files, dead = list[str](), dict[str, str](), list[str]()
    with os.scandir(base / place) as found:
        for entry in found:
            if entry.name.startswith("."):
                continue
            end = os.path.splitext(entry.name)[1].lower()
            lost = entry.is_symlink() and not os.path.exists(entry.path)
            if not lost and entry.is_dir():
                folders.append(entry.name)
            else:
                files[entry.name] = end if lost or entry.is_file() else SPECIAL
                dead += [f"{place}/{entry.name}".lstrip("/")] * (lost and not end)
    if dead:
        raise ValueError(f"{base} has links that lead nowhere: {listed(sorted(dead))}; mend or remove them")
    return sorted(folders), files
