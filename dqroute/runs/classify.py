"""A trained run put to work on picture files."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dqroute.core.checks import checked_range, checked_whole, choose
from dqroute.core.worlds import reweighed, shares_in
from dqroute.data import read_images
from dqroute.data.files.decoding import extensions
from dqroute.data.files.reading import checked_files
from dqroute.data.files.tree import pictures, warn_of_unread
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.run import Run, opened

Picture = str | os.PathLike[str]


def classify(
    run: Run | str | os.PathLike[str],
    files: Iterable[Picture] | Picture,
    *,
    answer_at: float | Mapping[str, float] = 0.0,
    adapt: bool = False,
    batch_size: int = 256,
    device: str = "auto",
) -> pd.DataFrame:
    """Name what is on pictures: ``dq.classify(dq.Run(FOLDER), files)``.

    Args:
        run: a finished run that was trained on square colour pictures, or behind a pretrained encoder; or its folder,
            where settings and weights are enough.
        files: pictures, or one, of any kind and size, made squares as those were that the model learned from; or a
            folder, for all pictures in it, however deep.
        answer_at: least probability of an answer, 0 to 1; below it the model abstains. Or one for each class by name,
            0 for those that are not named.
        adapt: estimate from these pictures how common the shot groups are where they come from, and answer for there
            (:mod:`dqroute.core.worlds`); a warning says where they are too few to tell, and nothing is adapted then.
        batch_size: pictures in memory at a time; device: where to compute.

    Returns:
        A table with a row a file, in order. Its columns are ``file``; ``class``, the most probable one; its
        ``probability``, 0 to 1; ``answered``, whether that is enough; ``problem``, empty unless the file cannot be
        read, which costs its own row alone.
    """
    run = opened(run)
    model, names = run.model.to(resolve_device(device)), run.settings["class_names"]
    least = dict.fromkeys(names, 0.0)
    for name, value in (answer_at if isinstance(answer_at, Mapping) else dict.fromkeys(names, answer_at)).items():
        least[choose("class of answer_at", name, names)] = checked_range("answer_at", value, 0, 1)
    checked_whole("batch_size", batch_size, 1)
    files = pictures_of(files) if isinstance(files, (str, os.PathLike)) else checked_files(files)
    side, kind = square_of(model)
    if adapt:
        model.adapt(None)
    problems: list[str] = []
    said = [torch.empty(0, len(names))]
    for start in range(0, len(files), batch_size):
        images, wrong = read_what_can_be(files[start : start + batch_size], side, kind, model.fit)
        problems += wrong
        said += [model.predict(images).probabilities] if len(images) else []
    log_p = torch.cat(said).log()
    if adapt and len(log_p):
        log_p = adapted(log_p, model.calibration.rings.cpu())
    rows, answers = [], zip(*(column.tolist() for column in log_p.exp().max(dim=1)), strict=True)
    for file, problem in zip(files, problems, strict=True):
        p, label = (nan, None) if problem else next(answers)
        name = None if label is None else names[label]
        rows.append((os.fspath(file), name, p, name is not None and p >= least[name], problem))
    return pd.DataFrame(rows, columns=["file", "class", "probability", "answered", "problem"])


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


def as_seen(model: Method, images: Tensor | Picture | Sequence[Picture]) -> Tensor:
    """Pictures, uint8 ``[N, channels, H, W]``, as they are; picture files, or one, as the model takes them."""
    return images if isinstance(images, Tensor) else read_images(images, *square_of(model), model.fit)


def pictures_of(place: Picture) -> list[Picture]:
    """All pictures in a folder, however deep, sorted; anything else alone. ValueError for a folder without pictures."""
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return [place]
    left = Counter[str]()
    found = [folder / name.removeprefix("./") for name in sorted(pictures(folder, ".", left))]
    warn_of_unread(folder.name, left, level=4)
    if not found:
        raise ValueError(f"{folder} has no picture ({', '.join(extensions())}); give another folder, or files")
    return list(found)


def adapted(log_p: Tensor, rings: Tensor) -> Tensor:
    """Log-probabilities ``[N, C]`` for the world that the images come from; as they are, with a warning, if unsure."""
    shares = shares_in(log_p, rings)
    if not shares.sure:
        warnings.warn(shares.doubt, stacklevel=3)
        return log_p
    return reweighed(log_p, rings, shares.share)


def read_what_can_be(files: Sequence[Picture], size: int, kind: str, fit: str) -> tuple[Tensor, list[str]]:
    """The pictures that can be read, uint8 ``[N, 3, size, size]``, and what is wrong with each file, or ``""``."""
    try:
        return read_images(files, size, kind, fit), [""] * len(files)
    except ValueError as error:
        if len(files) == 1:
            return torch.empty(0, 3, size, size, dtype=torch.uint8), [str(error)]
    # One by one then, to learn which.
    images, problems = zip(*(read_what_can_be([file], size, kind, fit) for file in files), strict=True)
    return torch.cat(images), [problem for (problem,) in problems]
