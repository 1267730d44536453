"""Judging out of fold: every statement about an image comes from heads that were not trained on it.

A network that knows its five images of a class by heart calls the class easy, its detectors sure, its tail expert
right. So images are divided into folds; beside the heads that will predict, each fold has heads that never saw it, and
what they say of its images is what difficulty, detectors, fusion and calibration are made from. What all heads share,
class weights, the turn of features to principal components and detectors with parameters, has seen every image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dqroute.core.checks import checked_whole


def fold_of(labels: Tensor, folds: int, groups: Tensor | None = None, seed: int = 0) -> Tensor:
    """The fold of each image, int64 ``[N]``: 0 to ``folds - 1``, or below 0 for an image that nobody judges.

    Each class is spread over the folds as evenly as it goes, its images in an order that the seed decides; the folds
    end up of equal size to one image. A class with fewer images than folds lies in as many folds as it has images.
    Where all of a class lies together, as a class of one image does, nobody without its images would know it: they are
    left out of the judging, and all heads train on them, -1. But whoever trains on a part of a group knows the rest of
    it: where their group holds images that fold f judges, its heads do without them too, ``-2 - f``
    (:func:`kept_from`). They do not know that class then, and cannot take others for it, which makes what they say a
    little too good.

    Args:
        labels: int64 ``[N]``; folds: from 2, and no more than images, or it is a ValueError.
        groups: int64 ``[N]``, images that belong together (a burst, a patient) having the same number: they share a
            fold. None where each stands alone.
    """
    checked_whole("folds", folds, 2)
    if folds > len(labels):
        raise ValueError(f"{folds} folds need at least as many images; there are {len(labels)}: ask for fewer folds")
    if groups is not None and groups.shape != labels.shape:
        raise ValueError(f"groups are int64 [{len(labels)}], one for each image; got {list(groups.shape)}")
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    fold = torch.empty_like(labels)
    if groups is None:
        # One class after the other, dealt like cards: each next image to the next fold.
        dealt = shuffled[labels[shuffled].argsort(stable=True)]
        fold[dealt] = torch.arange(len(labels)) % folds
    else:
        fold = dealt_together(labels, groups, shuffled, folds)
    spread = torch.zeros(int(labels.max()) + 1, folds).index_put_((labels, fold), torch.ones(())).sum(dim=1)
    out = spread[labels] < 2
    mixed = out & torch.isin(groups, groups[~out]) if groups is not None else torch.zeros_like(out)
    return torch.where(out, torch.where(mixed, -2 - fold, -1), fold)


def kept_from(fold: Tensor) -> Tensor:
    """The fold whose heads never see each image, judged or not, int64 ``[N]``; -1 where all see it."""
    return fold.where(fold >= -1, -2 - fold)


def dealt_together(labels: Tensor, groups: Tensor, shuffled: Tensor, folds: int) -> Tensor:
    """Folds that keep groups whole: each group, the largest first, to where its rarest class is scarcest."""
    members = groups[shuffled].unique(return_inverse=True)[1]
    number, sizes = int(members.max()) + 1, members.bincount()
    counts, held = labels.bincount(), torch.zeros(folds, int(labels.max()) + 1)
    by_group = shuffled[members.argsort(stable=True)].split(sizes.tolist())
    fold = torch.empty_like(labels)
    for index in sizes.argsort(descending=True, stable=True).tolist():
        images = by_group[index]
        rarest = labels[images][counts[labels[images]].argmin()]
        # The fold with fewest images of that class; of those the smallest.
        scarce = held[:, rarest] + held.sum(dim=1) / (1 + held.sum()) / number
        fold[images] = chosen = scarce.argmin()
        held[chosen].index_add_(0, labels[images], torch.ones(len(images)))
    return fold


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """A weight for each image, ``[N]``, such that all classes that are there count alike; they sum to 1."""
    counts = labels.bincount(minlength=num_classes).double()
    return 1 / (counts[labels] * (counts > 0).sum())


def first_of_each(labels: Tensor, number: int) -> Tensor:
    """The first images of each class, at most so many, int64: indices in order."""
    order = labels.argsort(stable=True)
    begins = labels.bincount().cumsum(dim=0) - labels.bincount()
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - begins[labels[order]]
    return (rank < number).nonzero().flatten()


def minimised(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int = 200) -> Tensor:
    """Where a smooth function of a few numbers is least, by L-BFGS from ``start``; ``start`` where that fails."""
    at = start.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([at], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(at)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return at.detach() if torch.isfinite(at).all() else start.double()
