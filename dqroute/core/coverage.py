"""Abstaining: what is gained by answering only where the model is sure, and how much is then left unanswered."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Coverage(NamedTuple):
    """What a threshold on the probability does, from the highest threshold to the lowest.

    Attributes:
        threshold: ``[M]``, decreasing: answer where the probability is at least this.
        coverage: ``[M]``, increasing to 1: share of the images answered.
        accuracy: ``[M]``, share of the answers that are right.
    """

    threshold: Tensor
    coverage: Tensor
    accuracy: Tensor


def coverage_curve(probability: Tensor, right: Tensor, weights: Tensor | None = None) -> Coverage:
    """Accuracy against coverage, a point for each probability that occurs.

    ``coverage(t) = Σ_i u_i [p_i ≥ t] / Σ_i u_i`` and
    ``accuracy(t) = Σ_i u_i [p_i ≥ t] [ŷ_i = y_i] / Σ_i u_i [p_i ≥ t]`` (the risk–coverage curve of selective
    classification, El-Yaniv and Wiener, 2010, upside down).

    Args:
        probability: of the answers, ``[N]``.
        right: bool ``[N]``, whether the answer is the label.
        weights: ``u``, ``[N]``, not negative; None counts every image once. ``1 / n_y`` makes a long-tailed
            validation split speak for balanced classes.

    Raises:
        ValueError: if there are no images, or the lengths differ, or no image counts.
    """
    if not len(probability) or len(probability) != len(right):
        raise ValueError(f"a curve needs images, and an answer each; got {len(probability)} and {len(right)}")
    if weights is not None and (weights.shape != probability.shape or (weights < 0).any() or not weights.sum() > 0):
        raise ValueError(f"a curve needs a weight for each of {len(probability)} images, none negative, some above 0")
    u = torch.ones(len(probability), dtype=torch.float64) if weights is None else weights.double()
    threshold, order = probability.double().sort(descending=True, stable=True)
    answered, correct = u[order].cumsum(dim=0), (u * right)[order].cumsum(dim=0)
    # Images of equal probability are answered together or not at all: only the last of them is a point.
    last = torch.cat([threshold[1:] < threshold[:-1], torch.ones(1, dtype=torch.bool)])
    last &= answered > 0  # Where only images without weight are answered there is no accuracy.
    return Coverage(threshold[last], (answered / answered[-1])[last], (correct / answered)[last])


def threshold_for(curve: Coverage, accuracy: float) -> float:
    """The lowest threshold, hence the largest coverage, at which the answers are right so often.

    Args:
        curve: from a validation split; a threshold chosen on the test set promises what it has already seen.
        accuracy: 0 to 1.

    Raises:
        ValueError: if no threshold reaches it.
    """
    reached = (curve.accuracy >= accuracy).nonzero().flatten()
    if not len(reached):
        best = curve.accuracy.max().item()
        raise ValueError(f"no threshold makes the answers {accuracy:.1%} right; the best there is is {best:.1%}")
    return curve.threshold[reached[-1]].item()
