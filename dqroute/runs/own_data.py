"""A run's own image set: at hand or asked for, refused if it is another, seen as features by the run's axes."""

from __future__ import annotations

import re
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import choose, shown
from dqroute.data.checking import check_files
from dqroute.data.feature_cache import FeatureCache
from dqroute.data.feature_set import encoded, features, projected, rows_of
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, Encoding, ImageSet, Split
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.pictures import moves
from dqroute.runs.run import OUT_OF_FOLD, SPLITS, Run


def checked_data(
    run: Run, data: ImageSet | None, split: str, remedy: str = "load it as it was then, or train on this one"
) -> ImageSet | None:
    """These images, or those that the run has at hand, if any; ValueError with the remedy if they are not its own."""
    choose("split", split, SPLITS)
    if not isinstance(data, (ImageSet, NoneType)):
        raise ValueError(f"a run is evaluated on an image set from dq.load; got {shown(data)}")
    if (data := data or run.data) is not None:
        if data.encoding is None and "features" in run.settings["data"] and not differences(data, run):
            data = as_features(run, data)
        parts = ("train",) if split == OUT_OF_FOLD else (split,)
        if wrong := differences(data, run):
            check_files(data, parts=parts)  # a damaged file has another size: that is what should be heard of
            raise ValueError(
                f"{data.name} as loaded is not the data of {run.folder}: {wrong}{moves(run.folder, data)}; {remedy}"
            )
        run.warn_of_other_images(data, parts)
    return data


def as_features(run: Run, data: ImageSet, device: str = "auto", progress: bool = True) -> ImageSet:
    """Pictures as features by the axes of a run on features: worked out anew they are the same to rounding only."""
    told, model = run.settings["data"]["features"], run.model
    axes = (each.cpu() for each in (model.centre, model.scale, model.axes))
    own = Encoding(told["backbone"], told["weights"], told["size"], "", *axes)
    views = told.get("views", 1)
    return features(data, told["backbone"], views=views, encoding=own, device=device, progress=progress)


def by_axes(model: Method, split: Split | FileSplit, store: FeatureCache, name: str = "") -> Tensor:
    """Features ``[N, D]`` by the axes of a model, by way of a cache; ``name`` has progress shown."""
    axes = [each.cpu() for each in (model.centre, model.scale, model.axes)]
    keys = encoded(split, model.encoder, store, name, progress=bool(name))
    return torch.cat([projected(rows, *axes) for rows in rows_of(store, keys)])


def at_work(run: Run, data: ImageSet | None, split: str, device: str) -> tuple[Method, AnySplit]:
    """The model on its device, and the images to evaluate it on; ValueError if there are none."""
    if data is None:
        raise ValueError(f"{run!r} was opened without its images; pass the image set too, as in dq.evaluate(run, data)")
    if choose("split", split, ("test", "val")) not in data.splits:
        what = {
            "val": "a validation split",
            "test": "test images, without which dq.evaluate alone reports, out of fold",
        }
        raise ValueError(f"{data.name} was loaded without {what[split]}; load it with {split}=0.2, say")
    return run.model.to(resolve_device(device)), data.splits[split]


def differences(data: ImageSet, run: Run) -> str:
    """Which parts of the identity differ, for a message; of pictures those alone that features do not decide."""
    wanted: dict[str, Any] = run.settings["data"]
    if data.encoding is None:
        wanted = {name: value for name, value in wanted.items() if name != "features"}
    keys = sorted(k for k in wanted.keys() | data.identity.keys() if wanted.get(k) != data.identity.get(k))
    return ", ".join(f"{k} is {brief(data.identity.get(k))}, was {brief(wanted.get(k))}" for k in keys)


def brief(value: Any) -> str:
    """A value of an identity in a message: of a digest its beginning."""
    return f"{value[:8]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else repr(value)
