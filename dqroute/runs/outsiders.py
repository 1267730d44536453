"""Pictures of no known class: scores by name, beside what the run's own training pictures score out of fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from safetensors import SafetensorError
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.core.outputs import ExpertOutputs, mean_logits
from dqroute.data.alike import ALIKE
from dqroute.data.disk import write_tensors
from dqroute.data.feature_set import principal, projected
from dqroute.data.image_set import FeatureSplit
from dqroute.measures.outsiders import COMPARED, Typical, energy, seen_by_other_folds, share_as_strange
from dqroute.runs.judged import warn_of_near_copies
from dqroute.runs.run import TYPICAL, Run

OUTSIDERS = ("mahalanobis", "energy")
# Where axes cannot be fitted anew they are those of all training images, and along many of them whatever was not among
# these looks far: then only so many are looked along.
LEAST, IMAGES_AN_AXIS = 12, 16


def keep_typical(run: Run, train: FeatureSplit, fold: Tensor) -> int | None:
    """Leave in the run folder what training features look like, for runs that are opened without them.

    Returns how many training images have a near copy (:func:`dqroute.data.alike.near_copies`) among those that their
    judges learned from, told as of a test image: by axes that were fitted without it. None of too many images. ``fold``
    is int64 ``[N]``, that of each image, below 0 for none.
    """
    known, number, labels = fold >= 0, len(run.settings["class_names"]), train.labels
    whole = None
    if train.whole is not None and len(train) <= COMPARED:
        try:
            whole = torch.cat(list(train.whole()))
        except (OSError, ValueError, SafetensorError) as error:
            # The training is done; it is not lost for this.
            told = "classify(outsiders='mahalanobis') will find fewer strangers; load the set and train again for that"
            warnings.warn(f"the cache of features was emptied or damaged meanwhile ({error}): {told}", stacklevel=2)
    width = train.features.shape[1] if whole is not None else max(LEAST, len(train) // IMAGES_AN_AXIS)

    def seen_by(seen: Tensor) -> Tensor:
        return train.features if whole is None else projected(whole, *principal(lambda: [whole[seen]], width))

    typical = Typical.of(train.features[:, :width], labels, number)._asdict()
    distance, likeness = seen_by_other_folds(seen_by, labels, number, fold, width)
    kept = {"distance": distance[known], "labels": labels[known]}
    write_tensors(run.folder / TYPICAL, typical | kept, {"digest": run.settings["digest"]})
    return None if likeness[known].isnan().any() else int((likeness >= ALIKE).sum())


def strangeness(run: Run, kind: str) -> Callable[[ExpertOutputs], Tensor]:
    """A function from what the experts say of pictures to the share of own pictures that are as strange, ``[B]``.

    See :func:`~dqroute.measures.outsiders.share_as_strange`; ``kind`` is one of :data:`OUTSIDERS`. ValueError for
    another one, and if the run has nothing out of fold to compare with.
    """
    choose("outsider score", kind, OUTSIDERS)
    warn_of_near_copies(run)
    if kind == "energy":
        own, labels = energy(mean_logits(ExpertOutputs(run.judged["logits"]))), run.judged["labels"]
        return lambda outputs: share_as_strange(energy(mean_logits(outputs)).cpu(), own, labels)
    path = run.folder / TYPICAL
    if not path.is_file():
        remedy = "train it with this version, on features with folds of 2 or more, in another runs_dir"
        raise ValueError(f"{run!r} does not say what its training pictures look like; {remedy}")
    kept = run.own_tensors(path, *Typical._fields, "distance", "labels")
    typical = Typical(kept["means"], kept["root"])
    return lambda outputs: share_as_strange(
        typical.distance(outputs.features[0].cpu()), kept["distance"], kept["labels"]
    )
