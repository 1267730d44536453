"""Labelled pictures that are not of a run's own set, made ready for it to be judged on."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch

from dqroute.core.checks import choose
from dqroute.data.feature_cache import default_cache
from dqroute.data.feature_set import cache_of
from dqroute.data.files.reading import listed
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, Encoding, FeatureSplit, ImageSet
from dqroute.runs.own_data import by_axes
from dqroute.runs.pictures import learned_from
from dqroute.runs.run import Run

EVERY = "all"  # a split of all pictures that a set has


def other_pictures(run: Run, data: ImageSet, split: str) -> tuple[list[AnySplit], int]:
    """The pictures of a split of another set, or of all splits, with their labels as the run numbers its classes.

    Classes are matched by name; some may be missing. Pictures in files are seen as the run saw its own. A warning names
    those that the run was trained on, by content; how many these are is told beside the pictures. ValueError for a
    class that the run does not know, and for features of other axes than the run's without their pictures.
    """
    known = {name: label for label, name in enumerate(run.settings["class_names"])}
    choose("split", split, (*data.splits, EVERY))
    wanted = {name: part for name, part in data.splits.items() if split in (name, EVERY)}
    there = torch.cat([part.labels for part in wanted.values()]).unique().tolist()
    if unknown := [data.class_names[label] for label in there if data.class_names[label] not in known]:
        raise ValueError(
            f"{data.name} has class {listed(unknown)}, which {run.folder} was not trained on; it knows "
            f"{listed(list(known))}: rename such classes, or leave them out"
        )
    parts = [as_run_sees(run, part, data.encoding, f"{data.name} {name}") for name, part in wanted.items()]
    # Classes of which there is no picture need not be known.
    number = torch.tensor([known.get(name, -1) for name in data.class_names])
    if learned := [name for part in parts for name in learned_from(run.folder, part)]:
        warnings.warn(
            f"{len(learned):,} of {sum(map(len, parts)):,} pictures are ones that the run was trained on, by content: "
            f"{listed(learned)}; what is measured on them is memory",
            stacklevel=4,
        )
    return [replace(part, labels=number[part.labels]) for part in parts], len(learned)


def as_run_sees(run: Run, split: AnySplit, encoding: Encoding | None, name: str) -> AnySplit:
    """A split as a run takes it: the pictures themselves where they are at hand, files at the run's size and fit.

    Behind an encoder these are their features, kept in the cache; ``name`` is what their progress is shown by.
    """
    if isinstance(split, FeatureSplit):
        if split.pictures is None:
            own = run.model.axes if run.model.needs else torch.empty(0)
            if encoding is None or not torch.equal(own.cpu(), encoding.axes):
                raise ValueError(f"these features are not as {run.folder} wants them; load the pictures themselves")
            return split
        split = split.pictures
    size = run.model.size[0] if run.model.size else split.shape[1]
    split = replace(split, size=size, fit=run.model.fit) if isinstance(split, FileSplit) else split
    if run.model.needs is None:
        return split
    store = cache_of(run.model.encoder.to(run.model.mean.device), default_cache())
    try:
        return FeatureSplit(by_axes(run.model, split, store, name), split.labels, split)
    except OSError:  # of a cache that cannot be written
        return split
