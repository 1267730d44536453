"""Class by class: how often each is recognised, how sure that is, and what is taken for what."""

from __future__ import annotations

import pandas as pd
import torch

from dqroute.core.checks import checked_whole
from dqroute.data.image_set import ImageSet
from dqroute.data.options import names_checked
from dqroute.measures.intervals import independent, wilson
from dqroute.runs.audit import beside_labels
from dqroute.runs.evaluate import said_of
from dqroute.runs.own_data import checked_data
from dqroute.runs.run import OUT_OF_FOLD, RunOrFolder, opened


@names_checked
def by_class(run: RunOrFolder, data: ImageSet | None = None, split: str = "test", device: str = "auto") -> pd.DataFrame:
    """How often pictures of each class are recognised, with 95 % intervals; the worst class first.

    Args:
        run: a finished run, or its folder; data: its image set, unless the run has it.
        split: ``"test"``, ``"val"``, or ``"out-of-fold"``: the training pictures, judged by those who never saw them.

    Returns:
        A table with a row a class. Its columns are ``class``; ``training images``; ``images``, of the split;
        ``accuracy``, the share that is recognised, and ``low`` and ``high``, 0 to 1
        (:func:`dqroute.measures.intervals.wilson`, of as many pictures as
        :func:`~dqroute.measures.intervals.independent` tells where they come in groups); ``most often called``, the
        class that most of its other pictures are taken for, and ``times``, how many.

    Raises:
        ValueError: if the run has nothing out of fold, the data are not its own, or have no such split.
    """
    run = opened(run)
    said, labels, groups = said_of(run, checked_data(run, data, split), split, device)
    names, number = run.settings["class_names"], len(run.settings["class_names"])
    called = torch.zeros(number, number, dtype=torch.int64)
    called.index_put_((labels, said.label), torch.ones((), dtype=torch.int64), accumulate=True)
    images, hits = called.sum(dim=1), called.diagonal().clone()
    share = hits.double() / images
    low, high = wilson(share, independent(labels, number, groups))
    often, taken_for = called.fill_diagonal_(0).max(dim=1)
    table = pd.DataFrame(
        {
            "class": names,
            "training images": run.settings["problem"]["counts"],
            "images": images.tolist(),
            "accuracy": share.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "most often called": [names[c] if often[i] else None for i, c in enumerate(taken_for.tolist())],
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
    run, most = opened(run), checked_whole("most", most, 1)
    data = checked_data(run, data, split)
    said, labels, _ = said_of(run, data, split, device)
    names, p, probability, label = run.settings["class_names"], said.probabilities, said.probability, said.label
    pair, images = labels * len(names) + label, labels.bincount(minlength=len(names))
    share = pair.bincount(minlength=len(names) ** 2)[pair] / images[labels]
    wrong = (label != labels).nonzero().flatten().tolist()
    order = sorted(wrong, key=lambda i: (-share[i].item(), int(pair[i]), -probability[i].item()))[:most]
    first = torch.tensor(order, dtype=torch.int64)
    part, places = (split, first) if split != OUT_OF_FOLD else ("train", run.judged["images"][first])
    shown = None if data is None else data.splits[part]
    found = beside_labels(shown, places, labels[first], label[first], p[first], names)
    return found.assign(**{"so often": share[first].tolist()})
