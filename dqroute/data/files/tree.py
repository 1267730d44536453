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
    folders = [entry.name for entry in visible(base, "") if is_folder(entry)]
    named = {PARTS[name.lower()]: name for name in folders if name.lower() in PARTS}
    if twice := [name for name in folders if name.lower() in PARTS and named[PARTS[name.lower()]] != name]:
        raise ValueError(
            f"{base} has {listed([named[PARTS[twice[0].lower()]], *twice])} for one part; leave one of them"
        )
    notes: list[str] = []
    inside = (entry for name in named.values() for entry in visible(base, name))
    if len(named) < len(folders) and named and not any(map(is_folder, inside)):
        notes.append(f"{listed([*named.values()])}, without class folders, are taken for classes as the others are")
        named = {}
    left: Counter[str] = Counter(kind_of(entry) for entry in visible(base, "") if not is_folder(entry))
    if "train" not in named and named:
        raise ValueError(f"{base} has {listed([*named.values()])} and no train folder; expected train/<class>/*")
    if not named:
        parts = {"train": by_class(base, "", left, notes)}
    else:
        parts = {part: by_class(base, named[part], left, notes) for part in ("train", "val", "test") if part in named}
        if others := [name for name in folders if name not in named.values()]:
            notes.append(f"beside {listed([*named.values()])} the folders {listed(others)} are left out")
    # Told apart from what is no picture: it may have been meant.
    if stray := sum(left.pop(end, 0) for end in extensions()):
        notes.append(number_of(stray, "pictures lie in no class's folder and are left out"))
    if left:
        told = ", ".join(f"{number:,} {end or 'without an ending'}" for end, number in sorted(left.items()))
        notes.append(f"{number_of(sum(left.values()), 'files that are no pictures are left out')} ({told})")
    warn_of_unread(base.name, left, level=5)
    return parts, notes


def warn_of_unread(name: str, left: Counter[str], level: int) -> None:
    """Warn of pictures of kinds that cannot be read here, by how their names end, and say what would read them."""
    if unread := {end: left[end] for end in sorted(left) if end in PICTURES}:
        told = ", ".join(f"{number:,} {end}" for end, number in unread.items())
        more = f"; {HEIF} reads {' and '.join(sorted(heif))}" if (heif := unread.keys() & HEIF_ENDINGS) else ""
        warnings.warn(f"{name}: files of kinds that are not read here are left out: {told}{more}", stacklevel=level)


def by_class(base: Path, part: str, left: Counter[str], notes: list[str]) -> dict[str, list[str]]:
    """The picture files of one part by class, sorted; what else there is is counted in ``left``."""
    folders = [entry.name for entry in visible(base, part) if is_folder(entry)]
    if not folders:
        raise ValueError(f"{base / part} has no class folder; expected {part or base.name}/<class>/*")
    if part:
        left.update(kind_of(entry) for entry in visible(base, part) if not is_folder(entry))
    images, deeper, inside = dict[str, list[str]](), 0, Counter[str]()
    for name in folders:
        place = f"{part}/{name}" if part else name
        images[name] = sorted(pictures(base, place, left))
        below = [image.removeprefix(f"{place}/").partition("/") for image in images[name]]
        deeper += sum(bool(slash) for _, slash, _ in below)
        inside.update([*dict.fromkeys(folder for folder, slash, _ in below if slash)])
    if deeper:
        of = f"{listed([*inside])}; are those the classes? then move them up, or load a table of paths and labels"
        own = len(inside) > len(folders) and max(inside.values()) == 1  # no name stands in two classes
        notes.append(
            number_of(deeper, "pictures lie deeper in their class's folder and are taken in") + own * f", from {of}"
        )
    return images


def pictures(base: Path, place: str, left: Counter[str], above: tuple[str, ...] = ()) -> list[str]:
    """The picture files below a folder, however deep."""
    real, around = os.path.realpath(base / place), os.path.realpath((base / place).parent)
    if real in above or f"{around}{os.sep}".startswith(f"{real}{os.sep}"):  # a link that leads in a circle
        return []
    found: list[str] = []
    for entry in visible(base, place):
        inside = f"{place}/{entry.name}"
        if is_folder(entry):
            found += pictures(base, inside, left, (*above, real))
        elif (kind := kind_of(entry)) in extensions():
            found.append(inside)
        else:
            left[kind] += 1
    return found


def kind_of(entry: os.DirEntry[str]) -> str:
    """How a file's name ends, in small letters; ``SPECIAL`` where it may not be opened.

    A link to nowhere is a file that is missed when it is read.
    """
    dead = entry.is_symlink() and not os.path.exists(entry.path)
    return ending(entry.name) if dead or entry.is_file() else SPECIAL


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one, and not one that leads in a circle."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def ending(name: str) -> str:
    """How a file's name ends, in small letters."""
    return os.path.splitext(name)[1].lower()


def visible(base: Path, place: str) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted; ValueError for links to nowhere which may have been those of folders."""
    with os.scandir(base / place) as found:
        shown = [entry for entry in found if not entry.name.startswith(".")]
    linked = (e for e in shown if e.is_symlink() and not ending(e.name))
    if dead := [f"{place}/{e.name}".lstrip("/") for e in linked if not os.path.exists(e.path)]:
        raise ValueError(f"{base} has links that lead nowhere: {listed(dead)}; mend or remove them")
    return sorted(shown, key=lambda entry: entry.name)
