"""Class by class: how often each is recognised, how sure that is, and what is taken for what."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.data.options import names_checked
from dqroute.measures.intervals import independent, wilson
from dqroute.runs.audit import beside_labels
from dqroute.runs.evaluate import predicted
from dqroute.runs.judged import out_of_fold
from dqroute.runs.own_data import at_work, checked_data, groups_in
from dqroute.runs.run import OUT_OF_FOLD, Run, RunOrFolder, opened


class Said(NamedTuple):
    """Probabilities ``[N, C]`` and labels ``[N]`` of images, their numbers in a split, and their groups, if any."""

    p: Tensor
    labels: Tensor
    images: Tensor
    split: AnySplit | None
    groups: Tensor | None


@names_checked
def by_class(run: RunOrFolder, data: ImageSet | None = None, split: str = "test", device: str = "auto") -> pd.DataFrame:
    """How often pictures of each class are recognised, with 95 % intervals; the worst class first.

    Args:
        run: a finished run, or its folder; data: its image set, unless the run has it.
        split: ``"test"``, ``"val"``, or ``"out-of-fold"``: the training pictures, judged by those who never saw them.
            Those are more pictures of the frequent classes, and no test set is looked at.

    Returns:
        A table with a row a class. Its columns are ``class``; ``training images``; ``images``, of the split;
        ``accuracy``, the share that is recognised, and ``low`` and ``high``, 0 to 1
        (:func:`dqroute.measures.intervals.wilson`); ``most often called``, the class that most of its other pictures
        are taken for, and ``times``, how many. Where pictures come in groups, an interval is that of as many pictures
        as there are groups, about (:func:`dqroute.measures.intervals.independent`).

    Raises:
        ValueError: if the run has nothing out of fold, the data are not its own, or have no such split.
    """
    run = opened(run)
    said = said_of(run, data, split, device)
    names, number = run.settings["class_names"], len(run.settings["class_names"])
    called = torch.zeros(number, number, dtype=torch.int64)
    called.index_put_((said.labels, said.p.argmax(dim=1)), torch.ones((), dtype=torch.int64), accumulate=True)
    images, hits = called.sum(dim=1), called.diagonal().clone()
    share = hits.double() / images
    low, high = wilson(share, independent(said.labels, number, said.groups))
    often, taken_for = called.fill_diagonal_(0).max(dim=1)
    table = pd.DataFrame(
        {
            "class": names,
            "training images": run.settings["problem"]["counts"],
            "images": images.tolist(),
            "accuracy": share.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "most often called": [
                names[c] if n else None for c, n in zip(taken_for.tolist(), often.tolist(), strict=True)
            ],
            "times": often.tolist(),
        }
    )
    return table.sort_values(["accuracy", "images"], ascending=[True, False], kind="stable", ignore_index=True)


@names_checked
def confusions(
    run: RunOrFolder, data: ImageSet | None = None, split: str = "test", most: int = 50, device: str = "auto"
) -> pd.DataFrame:
    """Pictures that are taken for another class, the classes that are confused most first, in them the surest answers.

    Arguments and errors are those of :func:`by_class`; ``most`` is how many rows at most. The columns are ``file`` (or
    ``image``, its number, where no files are known), ``label``, ``says``, ``probability of label``, ``probability``,
    and ``so often``, the share of the label's pictures that are called so.
    """
    run = opened(run)
    said = said_of(run, data, split, device)
    names = run.settings["class_names"]
    probability, label = said.p.max(dim=1)
    pair, images = said.labels * len(names) + label, said.labels.bincount(minlength=len(names))
    share = pair.bincount(minlength=len(names) ** 2)[pair] / images[said.labels]
    wrong = (label != said.labels).nonzero().flatten().tolist()
    order = sorted(wrong, key=lambda i: (-share[i].item(), int(pair[i]), -probability[i].item()))[:most]
    first = torch.tensor(order, dtype=torch.int64)
    found = beside_labels(said.split, said.images[first], said.labels[first], label[first], said.p[first], names)
    return found.assign(**{"so often": share[first].tolist()})


def said_of(run: Run, data: ImageSet | None, split: str, device: str) -> Said:
    """What a run says of the images of a split, or out of fold, for balanced classes."""
    data = checked_data(run, data, split)
    if split == OUT_OF_FOLD:
        prediction, labels = out_of_fold(run, data)
        places = run.judged["images"]
        train = None if data is None else data.train
        return Said(prediction.probabilities, labels, places, train, groups_in(run, data, split))
    model, images, _ = at_work(run, data, split, device)
    said, places = predicted(model, images).probabilities, torch.arange(len(images))
    return Said(said, images.labels, places, images, groups_in(run, data, split))
