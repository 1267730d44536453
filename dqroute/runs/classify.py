"""A trained run put to work on picture files."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dqroute.core.checks import checked_range, checked_whole, choose
from dqroute.core.outputs import ExpertOutputs
from dqroute.data import TABLES, read_images
from dqroute.data.feature_cache import FeatureCache, default_cache
from dqroute.data.feature_set import cache_of, pictures
from dqroute.data.files.decoding import extensions, squared
from dqroute.data.files.in_memory import Held, Pixels
from dqroute.data.files.reading import checked_files, named, refused, slashed
from dqroute.data.files.split import FileSplit
from dqroute.data.files.tree import named_folder, warn_of_unread
from dqroute.data.files.tree import pictures as pictures_below
from dqroute.data.options import names_checked
from dqroute.data.progress import Progress
from dqroute.measures.worlds import balanced_shares, reweighed, shares_in
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.decisions import cuts_for_sets
from dqroute.runs.outsiders import strangeness
from dqroute.runs.own_data import by_axes
from dqroute.runs.run import Run, RunOrFolder, opened

Picture = str | os.PathLike[str]


@names_checked
def classify(
    run: RunOrFolder,
    files: Iterable[Picture | Pixels] | Picture | Pixels,
    *,
    answer_at: float | Mapping[str, float] = 0.0,
    adapt: bool = False,
    top: int = 1,
    coverage: float | None = None,
    outsiders: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Name what is on pictures: ``dq.classify(dq.Run(FOLDER), files)``.

    Behind a pretrained encoder the features of the pictures are kept in the cache, by content (2.5 kB each of the
    bundled one): asked again the answer takes little more than reading the files.

    Args:
        run: a finished run on square colour pictures or behind a pretrained encoder, or its folder, where settings and
            weights are enough.
        files: pictures, or one, of any kind and size; a folder stands for all in it, however deep. Or pictures in
            memory, of Pillow or uint8, 0 to 255, arrays ``[H, W]`` or ``[H, W, 3]`` and tensors ``[3, H, W]``, which
            the table calls ``picture 0`` by their row.
        answer_at: least probability of an answer, 0 to 1; below it the model abstains. Or one for each class by name,
            0 for others; :func:`dqroute.runs.decisions.thresholds` finds them.
        adapt: estimate from these pictures how common the shot groups are where they come from, and answer for there
            (:mod:`dqroute.measures.worlds`); a warning says where they are too few to tell; nothing is adapted then.
        top: how many of the most probable classes are named.
        coverage: add the set of classes that holds the right one so often, 0 to 1, each class counting alike
            (:func:`dqroute.measures.decisions.set_cuts`): of probabilities for balanced classes, adapted or not.
        outsiders: say of each picture how many of the training pictures are as strange: near 0 it shows no known class.
            ``"mahalanobis"`` goes by the distance of its features from those of the classes, ``"energy"`` by what the
            experts say (:mod:`dqroute.measures.outsiders`). Of 549 training pictures of 12 classes (two draws of
            ``benchmarks/small_folder.py``) 17 % of strangers of other classes of CIFAR-100 were below 0.05, 96 % of
            ImageNet photographs, and 2 % of new pictures of the same classes; by energy 2, 12 and 1 %.
        batch_size: pictures in memory at a time; device: where to compute; progress: whether to show how far it is.

    Returns:
        A table with a row a file, in order. Its columns are ``file``; ``class``, the most probable one; its
        ``probability``, 0 to 1; ``class 2``, ``probability 2`` and so on with ``top``; ``answered``, whether the first
        is enough; ``set``, a tuple of names, the most probable first, which is always in it; ``own``, the share of own
        pictures, each class counting alike, that are at least as strange, a mere rank where none is; ``problem``, empty
        unless the file cannot be read, which costs its own row alone.

    Raises:
        ValueError: for a value out of range, a model of other images, and where sets or outsiders are asked of a run
            that left no predictions out of fold.
    """
    run = opened(run)
    model, names = run.model.to(resolve_device(device)), run.settings["class_names"]
    least = dict.fromkeys(names, 0.0)
    for name, value in (answer_at if isinstance(answer_at, Mapping) else dict.fromkeys(names, answer_at)).items():
        least[choose("class of answer_at", name, names)] = checked_range("answer_at", value, 0, 1)
    top = min(checked_whole("top", top, 1), len(names))
    cuts = None if coverage is None else cuts_for_sets(run, coverage)
    own_by = None if outsiders is None else strangeness(run, outsiders)
    problems: list[str] = []
    said, own = [torch.empty(0, len(names))], [torch.empty(0)]
    with held_for(model) as held:
        paths = pictures_of(files, held)
        for outputs, wrong in looked_at(run, paths, batch_size, progress):
            problems += wrong
            if outputs is not None:
                with torch.no_grad():
                    said.append(model.fuse(outputs).log_probability.cpu())
                own += [] if own_by is None else [own_by(outputs)]
    called = [f"picture {n}" if file in held.wrong else os.fspath(file) for n, file in enumerate(paths)]
    for n, file in enumerate(paths):
        if why := held.wrong.get(str(file)):
            problems[n] = f"cannot read {called[n]} ({why})"
    if unread := [name for name, problem in zip(called, problems, strict=True) if problem]:
        told = f"{len(unread):,} of {len(paths):,} pictures cannot be read, the first {unread[0]!r}"
        warnings.warn(f"{told}: the column problem says why", stacklevel=3)
    balanced, rings = torch.cat(said), model.calibration.rings.cpu()
    shares = balanced_shares(rings) if adapt else model.shares.cpu()
    if adapt and len(balanced):
        found = shares_in(balanced, rings)
        if not found.sure:
            warnings.warn(found.doubt(len(balanced)), stacklevel=3)
        shares = found.share if found.sure else shares
    best = reweighed(balanced, rings, shares).exp().topk(top, dim=1)
    columns: dict[str, list[Any]] = {}
    for k in range(top):
        place = f" {k + 1}" * (k > 0)
        columns[f"class{place}"] = [names[c] for c in best.indices[:, k].tolist()]
        columns[f"probability{place}"] = best.values[:, k].tolist()
    columns["answered"] = [p >= least[c] for c, p in zip(columns["class"], columns["probability"], strict=True)]
    if cuts is not None:
        columns["set"] = [members(p, cuts, names) for p in balanced.exp().double()]
    if own_by is not None:
        columns["own"] = torch.cat(own).tolist()
    read = pd.DataFrame(columns, index=[i for i, problem in enumerate(problems) if not problem])
    table = read.reindex(range(len(paths)))
    table["answered"] = table["answered"].eq(True)
    table.insert(0, "file", called)
    return table.assign(problem=problems)


def members(p: Tensor, cuts: Tensor, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the most probable class and of those whose probability, of ``[C]``, reaches their cut, in order."""
    inside = ((p >= cuts) | (p == p.max())).nonzero().flatten()
    return tuple(names[c] for c in inside[p[inside].argsort(descending=True, stable=True)].tolist())


def looked_at(
    run: Run, files: Sequence[Picture], batch_size: int, progress: bool = True
) -> Iterator[tuple[ExpertOutputs | None, list[str]]]:
    """What the experts say of picture files, some at a time, and what is wrong with each file, or ``""``.

    None where no file of a batch can be read; ValueError for a model of other than square colour pictures.
    """
    checked_whole("batch_size", batch_size, 1)
    model = run.model
    side, network = square_of(model)[0], model.network_for_prediction()
    store = cache_of(model.encoder.to(model.mean.device), default_cache()) if model.needs else None
    shown = Progress("pictures looked at", len(files), "picture", show=progress)
    with shown.bar:
        for start in range(0, len(files), batch_size):
            names = [os.path.abspath(file) for file in files[start : start + batch_size]]
            split = FileSplit(Path(), names, torch.zeros(len(names)), side, model.fit)
            try:
                images, wrong = what_can_be_read(model, split, store)
            except (ValueError, OSError):  # of a cache that cannot be written or read
                images, wrong = what_can_be_read(model, split, None)
            yield model.outputs(images, network=network) if len(images) else None, wrong
            shown.step(len(names))


def what_can_be_read(model: Method, split: FileSplit, store: FeatureCache | None) -> tuple[Tensor, list[str]]:
    """What a model reads of those files that can be read, kept in the ``store`` if any; what is wrong with each."""
    try:
        return as_read(model, split, store), [""] * len(split)
    except ValueError:
        if not (bad := dict(split.look(lambda _: True))):
            raise
    left = split.at(torch.tensor([i for i, name in enumerate(split.names) if name not in bad], dtype=torch.int64))
    images = as_read(model, left, store) if len(left) else torch.empty(0)
    return images, [f"cannot read {named([(name, bad[name])])}" if name in bad else "" for name in split.names]


def as_read(model: Method, split: FileSplit, store: FeatureCache | None) -> Tensor:
    """Features ``[N, D]``, by way of a cache, or uint8 pictures; ValueError if one cannot be read."""
    if store is None:
        return torch.cat(list(pictures(split, range(len(split)), *square_of(model))))
    return by_axes(model, split, store)


def square_of(model: Method) -> tuple[int, str]:
    """What squares a model takes of picture files: their side in pixels, and how they are interpolated.

    ValueError if it takes none.
    """
    if model.needs is not None:
        return model.needs.size, model.needs.interpolation
    channels, (height, width) = model.mean.shape[1], model.size or (0, 1)
    if height != width or channels != 3:
        takes = f"this model takes {channels} channel(s) of size {model.size}"
        remedy = "make its images yourself and call run.model.predict"
        raise ValueError(f"files are read as square colour pictures; {takes}; {remedy}")
    return height, "bicubic"


@contextmanager
def held_for(model: Method) -> Iterator[Held]:
    """What puts pictures in memory into files, squares as the model takes them, which are there meanwhile."""
    side, kind = square_of(model)
    with TemporaryDirectory(prefix="dqroute-") as place:
        yield Held(Path(place), partial(squared, side=side, kind=kind, fit=model.fit))


def as_seen(model: Method, images: Tensor | Picture | Pixels | Sequence[Picture | Pixels]) -> Tensor:
    """Tensors, uint8 ``[N, channels, H, W]``, as they are; other pictures, or one, as the model takes them."""
    if isinstance(images, Tensor):
        return images
    with held_for(model) as held:
        files = checked_files(images, held)
        if bad := [why for why in held.wrong.values() if why]:
            raise ValueError(f"cannot read a picture ({bad[0]})")
        return read_images(files, *square_of(model), model.fit)


def pictures_of(files: Any, made: Callable[[object], Picture] = refused) -> list[Picture]:
    """All pictures in folders, however deep, sorted; files as they are, and what is ``made`` of what is none.

    ValueError for a folder without pictures.
    """
    if not isinstance(files, (str, os.PathLike)):
        given = checked_files(files, made)
        given = [os.path.expanduser(file) for file in given]
        return [each for file in given for each in (pictures_of(file) if os.path.isdir(file) else [file])]
    folder = Path(slashed(files)).expanduser()
    if not folder.exists():
        several = "several" + (", as in glob.glob(PATTERN)" if set("*?[") & set(folder.name) else "")
        raise FileNotFoundError(f"there is no folder and no picture {folder}; give a folder, a picture, or {several}")
    if not folder.is_dir():
        if folder.suffix.lower() in TABLES:
            paths = f"[f'FOLDER/{{path}}' for path in pandas.read_csv({os.fspath(folder)!r})['COLUMN']]"
            raise ValueError(f"{folder} is a table, and no picture; give the paths in it: dq.classify(run, {paths})")
        return [folder]
    left = Counter[str]()
    found = [folder / name.removeprefix("./") for name in sorted(pictures_below(folder, ".", left))]
    warn_of_unread(named_folder(folder).name, left, level=5)
    if not found:
        raise ValueError(f"{folder} has no picture ({', '.join(extensions())}); give another folder, or files")
    return list(found)
