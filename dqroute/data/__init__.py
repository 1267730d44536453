"""Image sets by name. May import core (and models).

``image_set`` says what a set is, ``draw`` how it is thinned to a long tail, ``batches`` how training sees it; ``sets/``
holds one file a data set, ``files/`` what reads pictures and lists, ``disk`` writes files that are never half done.
A new set is one function that returns an :class:`ImageSet`, and one line in ``DATA_SETS``.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, Literal

from dqroute.core.checks import choose, meant, shown
from dqroute.data.alike import near_copies, say_leak
from dqroute.data.draw import checked_val
from dqroute.data.feature_set import COMPONENTS, features
from dqroute.data.files.reading import read_images
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import Augmentation, FeatureSplit, ImageSet, ResizedCrop, Split
from dqroute.data.options import check_kinds, checked_seed, plain, tell_options
from dqroute.data.sets.cifar import cifar
from dqroute.data.sets.digits import digits
from dqroute.data.sets.folder import folder
from dqroute.data.sets.glyphs import glyphs
from dqroute.data.sets.lists import list_set, published
from dqroute.data.sets.photographs import photographs
from dqroute.data.sets.table import table
from dqroute.models.encoders import loaded

__all__ = [
    "DATA_SETS",
    "Augmentation",
    "FeatureSplit",
    "FileSplit",
    "ImageSet",
    "ResizedCrop",
    "Split",
    "features",
    "load",
    "near_copies",
    "read_images",
]

DATA_SETS: dict[str, Callable[..., ImageSet]] = {
    "glyphs": glyphs,
    "digits": digits,
    "cifar10": partial(cifar, 10),
    "cifar100": partial(cifar, 100),
    "folder": folder,
    "table": table,
    "list": list_set,
    "imagenet-lt": partial(published, "imagenet-lt"),
    "places-lt": partial(published, "places-lt"),
    "photographs": photographs,
}


TABLES = (".csv", ".tsv", ".parquet")


def load(
    name: str | os.PathLike[str],
    *,
    imbalance: float | None | Literal["default"] = "default",
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    groups: str = "auto",
    val: float | int | None = None,
    backbone: str | None = None,
    components: int = COMPONENTS,
    views: int = 1,
    **options: Any,
) -> ImageSet:
    """Load an image set and draw its long-tailed training split.

    Args:
        name: one of :data:`~dqroute.data.DATA_SETS`; ``"folder:PATH"``, ``"table:FILE"``, ``"places-lt:PATH"`` and so
            on also tell where the images are. A path alone is taken for the folder or the table that it is.
        imbalance: largest over smallest class, at least 1; None takes all images there are. The default depends on
            the set: 100 for glyphs and CIFAR, None for the others.
        seed: decides which training images are drawn (and, for glyphs, what they look like).
        root: where the set lies on disk, for sets that do.
        groups: ``"auto"``, ``"shots"``, ``"thirds"`` or ``"imbalance-100"``; see :class:`dqroute.data.draw.Draw`.
        val: validation images to hold out of training: a fraction of each class, or a number per class; see there.
        backbone: a pretrained encoder, whose features of the pictures are then the set; see
            :func:`dqroute.data.features`, also for components and views.
        **options: of the one set; its function documents them.

    Raises:
        ValueError, TypeError: for an unknown name or a value out of range; for an option that the set does not have.
        FileNotFoundError: if the set is not on disk.
    """
    names = [*DATA_SETS, "folder:PATH", "table:FILE"]
    if hasattr(name, "to_csv"):
        raise ValueError(f"a table is read from a file; got {shown(name)}: write it with df.to_csv(FILE, index=False)")
    name = os.fspath(name) if isinstance(name, (str, os.PathLike)) else choose("data set", name, names)
    if name.lower().endswith((".xls", ".xlsx", ".xlsm", ".ods", ".numbers")):
        raise ValueError(f"{name} is a spreadsheet, of which no kind is read here; save it as CSV, and load that")
    if (taken := taken_for(name)) is not None:
        print(f"{name} is taken for {taken!r}")
        name = taken
    whole, (name, colon, path) = name, name.partition(":")
    if name not in DATA_SETS:
        if os.sep in whole or whole.lower().endswith((*TABLES, ".zip")):
            raise FileNotFoundError(
                f"{whole} is no folder and no table that is there; give a folder of class folders, or a "
                f"table ({', '.join(TABLES)}) of paths and labels"
            )
        there = f"there is no folder and no table {whole!r} in {os.getcwd()}"
        valid = f"the valid ones are {', '.join(names)}"
        raise ValueError(f"unknown data set {shown(whole)}{meant(name, names)}; {valid}; and {there}")
    if colon:
        if root is not None:
            start = f"give the folder that its paths start from as images={os.fspath(root)!r}"
            way = start if name == "table" else f"leave root out, or use load({name!r}, root=...)"
            raise ValueError(f"{whole!r} names its {'file' if name == 'table' else 'folder'}; {way}")
        root = path or None
    options |= {} if root is None else {"root": root}
    shared = ["imbalance", "seed", "groups", "val", "backbone", "components", "views"]
    known = inspect.signature(DATA_SETS[name]).parameters
    own = [option for option in known if option not in shared]
    if unknown := [option for option in options if option not in own]:
        hint = meant(unknown[0], shared + own)
        raise TypeError(f"{name} has no option {', '.join(unknown)}{hint}; its options are {', '.join(shared + own)}")
    check_kinds(known.values(), options)
    # Plain numbers, so that 100 and 100.0, or a number out of an array, give one and the same identity.
    options = {option: plain(value) for option, value in options.items()}
    if imbalance != "default":
        options["imbalance"] = checked_imbalance(imbalance)
    if backbone is not None and "stream" in own:
        # Read picture by picture, at the size that the backbone wants; what it makes of them fits into memory.
        options = {"stream": True, "size": loaded(backbone).preprocessing.size} | options
    data = DATA_SETS[name](seed=checked_seed(seed), groups=groups, val=checked_val(val), **options)
    for note in data.notes:
        print(f"{data.name}: {note}")
    if backbone is None:
        return data
    say_leak(seen := features(data, backbone, components=components, views=views))
    return seen


tell_options(load, [p for of_set in DATA_SETS.values() for p in inspect.signature(of_set).parameters.values()])


def taken_for(name: str) -> str | None:
    """The set that a path alone is, ``"folder:PATH"`` or ``"table:FILE"``; None for a name, and where nothing is."""
    path = os.path.expanduser(name)
    if name.partition(":")[0] in DATA_SETS or not os.path.exists(path):
        return None
    kind = "folder" if os.path.isdir(path) else "table" if path.lower().endswith(TABLES) else None
    return kind and f"{kind}:{path}"


def checked_imbalance(imbalance: object) -> float | None:
    """``imbalance`` as a plain number; ValueError unless it is None or a finite number from 1."""
    if imbalance is None:
        return None
    # Written so that NaN, which compares false with everything, is refused too.
    if isinstance(imbalance, bool) or not (isinstance(imbalance, Real) and 1 <= float(imbalance) < math.inf):
        raise ValueError(f"imbalance is largest over smallest class, a number from 1 (or None); got {imbalance!r}")
    return float(imbalance)
