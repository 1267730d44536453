"""How sure is sure enough: sets of classes that hold the right one so often, answers that are right so often.

Both are cuts on probabilities, chosen on predictions for images that those who speak were not trained on
(:mod:`dqroute.core.judging`). Every class counts alike, however many images it has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dqroute.core.checks import checked_range
from dqroute.core.judging import balanced_weights
from dqroute.measures.curves import coverage_curve
from dqroute.measures.intervals import wilson

# Answers of all classes that each class's own are pooled with, and standard errors below the share of these that is
# right. What others come to, chosen on four folds and tried on the fifth: benchmarks/small_folder.py.
POOLED, SURE = 50.0, 1.0


def set_cuts(probability: Tensor, labels: Tensor, num_classes: int, coverage: float) -> Tensor:
    """From which probability on each class belongs to the prediction set, ``[C]``: classes are covered so often.

    The set of an image is ``{c : p(c|x) ≥ t_c}``. With the score ``1 - p(y|x)``, p for balanced classes, that is
    softmax over prior (Ding, Fermanian and Salmon, 2025, arXiv 2507.06867), and conformal quantiles under weights
    that make it the mean of the classes' coverage (label shift to balanced classes; Podkopaev and Ramdas, 2021):
    ``t_c`` is the largest t with ``Σ_i w_i [p_i ≥ t] ≥ coverage · (1 + w_c)``, ``w_i = 1 / (n_{y_i} C')``, C' the
    number of classes that are there. What is added, ``w_c``, stands for the new image, which may be less probable than
    all: where the sum cannot be so large, ``t_c`` is 0. A class without an image is taken for one with one.

    Args:
        probability: ``[N]``, of each image's own class, for balanced classes; labels: int64 ``[N]``.
        coverage: of the classes on average, 0 to 1.
    """
    checked_range("coverage", coverage, 0, 1)
    counts = labels.bincount(minlength=num_classes)
    own, order = probability.double().sort(descending=True)
    covered = balanced_weights(labels, num_classes)[order].cumsum(dim=0)
    new = 1 / (counts.clamp_min(1) * (counts > 0).sum())
    place = torch.searchsorted(covered, coverage * (1 + new.double()) - 1e-9)
    return torch.cat([own, own.new_zeros(1)])[place]


def precision_cuts(
    probability: Tensor,
    said: Tensor,
    labels: Tensor,
    num_classes: int,
    precision: float,
    weights: Tensor,
    pooled: float = POOLED,
    z: float = SURE,
) -> Tensor:
    """The lowest probability from which on answers of each class are right so often, ``[C]``; infinite where none is.

    ``t_c`` is the least t with ``(R_c(t) + m P(t)) / (A_c(t) + m) ≥ precision``: of the answers c that are at least as
    sure, ``A_c`` counts all and ``R_c`` the right ones; ``P(t)`` is the lower end of an interval of the share that is
    right of all classes' answers (:func:`~dqroute.measures.intervals.wilson`), since the least of many t that reach a
    share promises more than it keeps. Cuts by a class's own answers alone promise what they find by chance among a
    handful; a class of which nothing is said has the cut of all. Weighted answers are ``(Σ u)² / Σ u²`` equal ones.

    Args:
        probability: ``[N]``, of the answers ``said``, int64 ``[N]``; labels: int64 ``[N]``.
        weights: u, ``[N]``, how common an image is where the answers will be given, up to a factor.
        pooled: m, how many of all classes' answers are added.
        z: half the width of that interval, in standard errors.
    """
    checked_range("precision", precision, 0, 1)
    right, cuts = said == labels, torch.full((num_classes,), torch.inf, dtype=torch.float64)
    every = coverage_curve(probability, right, weights)
    surest, order = probability.double().sort(descending=True)
    w, last = weights[order].double(), torch.searchsorted(-surest, -every.threshold, right=True) - 1
    low, _ = wilson(every.accuracy, (w.cumsum(dim=0).square() / w.square().cumsum(dim=0))[last], z)
    for c in range(num_classes):
        own = said == c
        u = weights[own].double()
        u = u * u.sum() / u.square().sum()
        p, order = probability[own].double().sort(descending=True)
        given = torch.searchsorted(-p, -every.threshold, right=True)
        answers, hits = (
            torch.cat([u.new_zeros(1), counted[order].cumsum(dim=0)])[given] for counted in (u, u * right[own])
        )
        reached = ((hits + pooled * low) / (answers + pooled) >= precision).nonzero().flatten()
        if len(reached):
            cuts[c] = every.threshold[reached[-1]]
    return cuts
