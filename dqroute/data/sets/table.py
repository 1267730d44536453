"""Any pictures named by a table: a spreadsheet's export with a path and a label a row."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path, PureWindowsPath
from typing import Any

from dqroute.core.checks import choose, one_line
from dqroute.data.draw import Draw
from dqroute.data.files.dividing import own_set
from dqroute.data.files.listing import spelled
from dqroute.data.files.reading import each, listed
from dqroute.data.files.tree import PARTS
from dqroute.data.image_set import ImageSet
from dqroute.data.markup import number_of

# What the columns are taken to be if they are called so, in small letters.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    "label": ("label", "class", "category", "species"),
    "split": ("split", "part", "subset"),
    "group": ("group", "burst", "camera", "location", "patient", "sequence"),
}
# What may stand above the head: empty rows, and the separator, as Excel understands; else it is what the head has most.
ABOVE = re.compile(r'(?:[\s;,]*\n)?(?:"?sep=(.)"?[\s;,]*\n(?:[\s;,]*\n)?)?')


def table(
    *,
    imbalance: float | None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
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
    """Pictures by a CSV, TSV or Parquet file: a row each, with its path and its label, perhaps its split and its group.

    Paths are absolute, or start from the table's folder; those of another machine, such as ``C:/Data/traps/1.jpg``,
    lose as many folders as it takes to find the first there. Either slash will do, and so will UTF-8, UTF-16 and
    Windows' Latin alphabet. Labels are text or numbers. Where no column says ``train``, ``val`` or ``test``, a share
    of each class is held out for testing.

    Args:
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the table; images: the folder that paths start from, unless it is the table's own.
        columns: which column is the path, the label, the split, the group, where they are called otherwise:
            ``{"path": "Datei", "label": "Art"}``.
        size, stream, flip, test, group_by, fit, skip_damaged: see :func:`dqroute.data.sets.folder.folder`; ``group_by``
            may name a column, too, and unless it is given one called group, camera, location or the like is taken;
            False takes none.

    Raises:
        FileNotFoundError: if there is no such table, or a picture is missing.
        ValueError: for a table that cannot be read, without these columns, or with rows that make no sense; for
            a picture that stands there twice with two labels.
    """
    if root is None:
        raise ValueError('the table set needs a file: load("table:FILE") or load("table", root=FILE)')
    file = Path(root).expanduser()
    table, columns = read_rows(file), dict(columns or {})
    there = [str(name).strip() for name in table.columns]
    if group_by and "group" in columns:
        raise ValueError(f"columns={columns!r} and group_by={group_by!r} both say what belongs together; leave one out")
    if group_by in there:
        columns["group"], group_by = str(group_by), None
    rows, names_of = columns_of(file, table, columns)
    place = Path(images).expanduser() if images is not None else file.parent
    asked = [os.path.normpath(place.absolute() / path) for path in found_below(place, [*rows["path"]])]
    paths = asked if all(each(os.path.exists, asked)) else as_spelled(asked)
    base = Path(os.path.commonpath({os.path.dirname(path) for path in paths}))
    names = [os.path.relpath(path, base).replace(os.sep, "/") for path in paths]
    labels, notes = told_once(file, names, rows["label"], "label"), list[str]()
    if otherwise := sum(map(str.__ne__, asked, paths)):
        alike = number_of(otherwise, "paths are spelled otherwise than their files are")
        notes.append(f"{alike}, in capitals or Unicode forms")
    del table, asked, paths  # of long lists they are large
    if (twice := len(names) - len(labels)) > 0:
        notes.append(number_of(twice, "rows say again what others said, and are left out"))
    split = told_once(file, names, rows["split"], "split") if "split" in rows else dict.fromkeys(labels, "train")
    parts = by_part(file, labels, split)
    group = dict[str, str]()
    if (
        group_by is None and "group" in rows and ("group" in columns or rows["group"].nunique() > 1)
    ):  # else it tells none
        own = f"the column {names_of['group']!r} says which pictures belong together"
        notes.append(f"{own}; group_by= names another, and False none")
        # A picture without a group stands alone.
        group = {name: key or name for name, key in told_once(file, names, rows["group"], "group").items()}
    told = repr([sorted(labels.items()), sorted(split.items()), sorted(group.items()) or None])
    identity = {"name": "table", "version": 1, "rows": hashlib.sha256(os.fsencode(told)).hexdigest()}
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    options: dict[str, Any] = {"size": size, "stream": stream, "fit": fit, "flip": flip, "skip_damaged": skip_damaged}
    options |= {"test": test, "group_by": group or group_by, "columns": there}
    one = f"the column {names_of['label']!r} says so; columns={{'label': …}} names another"
    return own_set(file.stem, base, parts, draw, identity, notes, one, **options)


def read_rows(file: Path) -> Any:
    """The table, all of it text; see :func:`table` for errors."""
    import pandas as pd  # here, because it takes its time to import

    if not file.is_file():
        raise FileNotFoundError(f"there is no table {file}")
    if file.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(file).astype("string")
        except Exception as error:  # of many kinds: no engine, a damaged file
            raise ValueError(f"cannot read {file} ({one_line(error)}); write it as CSV") from error
    content = file.read_bytes()
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        above, told = ABOVE.match(text).group(0, 1)  # type: ignore[union-attr]  # which matches nothing, too
        separator = told or max("\t;,", key=text[len(above) :].partition("\n")[0].count)
        read = partial(pd.read_csv, sep=separator, skiprows=above.count("\n"))
        try:
            return read(file, dtype="string", encoding=encoding, keep_default_na=False)
        except Exception as error:
            raise ValueError(
                f"{file} is no table that can be read ({one_line(error)}); write it anew as CSV"
            ) from error
    raise ValueError(f"{file} is neither UTF-8 nor UTF-16 nor Windows' Latin alphabet; write it anew as UTF-8")


def found_below(place: Path, paths: list[str]) -> list[str]:
    """Paths, of which another machine's absolute ones lose as many folders as it takes to find one below a folder."""
    lost = (path for path in paths if PureWindowsPath(path).root and not os.path.exists(path))
    parts = next(lost, "").split("/")
    gone = next((n for n in range(1, len(parts)) if (place / "/".join(parts[n:])).is_file()), None)
    return [path.split("/", gone)[-1] if gone and PureWindowsPath(path).root else path for path in paths]


def as_spelled(paths: list[str]) -> list[str]:
    """Paths, of which those without a file become those of files that differ in capitals or Unicode forms alone.

    A Mac writes letters with accents as two signs, Windows takes capitals as they come.
    """

    def look(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    @cache
    def inside(folder: str) -> dict[str, list[str]]:
        looks: dict[str, list[str]] = {}
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            looks.setdefault(look(name), []).append(name)
        return looks

    def found(path: str) -> str:
        if os.path.exists(path):
            return path
        there, *names = Path(path).parts
        for name in names:
            alike = [name] if os.path.exists(os.path.join(there, name)) else inside(there).get(look(name), [])
            if len(alike) != 1:
                return path
            there = os.path.join(there, alike[0])
        return there

    return [found(path) for path in paths]


def columns_of(file: Path, rows: Any, given: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """The columns that are asked for, called what they are, and their own names; ValueError for a row that lacks one.

    Of ``rows`` those are left out in which neither path nor label stands.
    """
    for what in given:
        choose("kind of column", what, COLUMNS)
    there, names = {str(name).strip(): name for name in rows.columns}, dict[str, str]()
    for what, usual in COLUMNS.items():
        # Where two columns have one name pandas calls the second label.1, say.
        called = [[real for real in there if re.sub(r"\.\d+$", "", real.lower()) == word] for word in usual]
        fitting = next(filter(None, called), [])
        if (asked := given.get(what)) is not None:
            names[what] = choose(f"column of {file.name}", asked, there)
        elif len(fitting) > 1:
            raise ValueError(f'{file.name} has {listed(fitting)}; say which to take: columns={{"{what}": …}}')
        elif fitting:
            names[what] = fitting[0]
        elif what in ("path", "label"):
            raise ValueError(
                f"{file.name} has no column {what!r}; it has {listed(list(there))}: name the one that is it, "
                f'columns={{"{what}": …}}'
            )
    rows = rows[[there[name] for name in names.values()]].set_axis([*names], axis=1).reset_index(drop=True)
    rows = rows.fillna("").apply(lambda column: column.str.strip())
    rows = rows[(rows["path"] != "") | (rows["label"] != "")]  # Excel leaves others behind
    for what in ("path", "label"):
        if len(empty := rows.index[rows[what] == ""]):
            raise ValueError(
                f"{file.name} has no {what} in row {listed((empty + 2).tolist())}; add it, or remove the row"
            )
    if rows.empty:
        raise ValueError(f"{file.name} has no row below its head")
    return rows.assign(path=rows["path"].str.replace("\\", "/")), names


def told_once(file: Path, names: list[str], values: Iterable[str], kind: str) -> dict[str, str]:
    """The label of each picture, say, in the table's order; ValueError for one that has two."""
    once: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if once.setdefault(name, value) != value:
            raise ValueError(f"{file.name} calls {name!r} {once[name]!r} and {value!r}; a picture has one {kind} here")
    return once


def by_part(file: Path, labels: dict[str, str], split: dict[str, str]) -> dict[str, dict[str, list[str]]]:
    """The pictures of each part by class, of each one's label and split; classes sorted, numbers by their value."""
    classes = sorted(set(labels.values()), key=lambda name: (not name.isdecimal(), name.isdecimal() * len(name), name))
    parts: dict[str, dict[str, list[str]]] = {part: {of: [] for of in classes} for part in ("train", "val", "test")}
    for name, label in labels.items():
        if (said := split[name]).lower() not in PARTS:
            valid = "train, val and test"
            raise ValueError(f"{file.name} has the split {said!r} for {name!r}; what is known are {valid}")
        parts[PARTS[said.lower()]][label].append(name)
    if empty := [of for of, files in parts["train"].items() if not files]:
        hint = spelled(empty, [of for of in classes if of not in empty])
        told = f"{file.name} has no training picture of class {listed(empty)}{hint}"
        raise ValueError(f"{told}; add some, or remove the class")
    if not any(parts["test"].values()):
        parts["test"] = parts.pop("val")
    return {part: images for part, images in parts.items() if any(images.values())}
