"""Two curves to judge a method by: what few-shot accuracy costs overall, and what is gained by not answering.

Any trained method can buy few-shot with many-shot accuracy, by a stronger correction for the prior of the training
set: ``ŷ(x) = argmax_c log p(c|x) - τ log π_c``. A single point therefore says little. The trade-off curve over τ does:
of two methods the better one is higher at equal few-shot accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups

# Strengths of the correction. Below zero a method that overdoes it already is taken back.
SHIFTS = tuple(round(-1 + 0.1 * step, 1) for step in range(41))
# Few-shot accuracies at which the heights of curves are compared, 0 to 1.
GRID = torch.linspace(0, 1, 1001, dtype=torch.float64)


class Point(NamedTuple):
    """Accuracies, 0 to 1, at one strength of the correction.

    ``shift`` is τ, ``overall`` of all images; the others of the images of each shot group, NaN where there is none.
    """

    shift: float
    overall: float
    many: float
    medium: float
    few: float


def trade_off(
    log_probability: Tensor, labels: Tensor, groups: ShotGroups, log_pi: Tensor, shifts: Sequence[float] = SHIFTS
) -> list[Point]:
    """The accuracies of ``argmax_c log p(c|x) - τ log π_c``, one point for each τ of ``shifts``.

    Of log-probabilities ``[N, C]``, up to a constant an image, so that logits will do, and ``log_pi``, ``[C]``.
    """
    group = groups.of_class()[labels]
    masks = [group == index for index in range(len(GROUP_NAMES))]
    points = []
    for shift in shifts:
        right = ((log_probability - shift * log_pi).argmax(dim=1) == labels).double()
        points.append(Point(shift, right.mean().item(), *(right[mask].mean().item() for mask in masks)))
    return points


def curve(points: Sequence[Point], few: Tensor = GRID) -> Tensor:
    """The highest overall accuracy at each few-shot accuracy, ``few``, NaN where the points do not reach.

    Points come by rising τ; between them the curve is straight. It ends where few-shot accuracy is largest: stronger
    corrections take from the few-shot classes too.
    """
    best = torch.full_like(few, torch.nan)
    reached = torch.tensor([point.few for point in points], dtype=torch.float64)
    rising = points[: 1 + int(reached.nan_to_num(-1).argmax())]
    for a, b in zip(rising, rising[1:], strict=False):
        (low, at_low), (high, at_high) = sorted([(a.few, a.overall), (b.few, b.overall)])
        inside = (low <= few) & (high >= few)
        line = at_low + (few[inside] - low) * ((at_high - at_low) / (high - low) if high > low else 0)
        # Where both points have the same few-shot accuracy the higher one counts.
        best[inside] = torch.fmax(best[inside], line if high > low else line.clamp_min(max(at_low, at_high)))
    return best


def overall_at(points: Sequence[Point], few: float) -> float:
    """Overall accuracy where few-shot accuracy is ``few``; NaN where the curve does not reach it."""
    return curve(points, torch.tensor([few], dtype=torch.float64)).item()


def area(points: Sequence[Point], low: float, high: float) -> float:
    """Mean overall accuracy over few-shot accuracies from ``low`` to ``high``; NaN if the curve leaves some out."""
    return curve(points)[(low <= GRID) & (high >= GRID)].mean().item()


class Coverage(NamedTuple):
    """What a threshold on the probability does, from the highest threshold to the lowest, ``[M]`` each."""

    threshold: Tensor  # answer where the probability is at least this
    coverage: Tensor  # share of the images answered, increasing to 1
    accuracy: Tensor  # share of the answers that are right


def coverage_curve(probability: Tensor, right: Tensor, weights: Tensor | None = None) -> Coverage:
    """Accuracy against coverage, a point for each probability that occurs.

    ``coverage(t) = Σ_i u_i [p_i ≥ t] / Σ_i u_i`` and
    ``accuracy(t) = Σ_i u_i [p_i ≥ t] [ŷ_i = y_i] / Σ_i u_i [p_i ≥ t]`` (the risk–coverage curve of selective
    classification, El-Yaniv and Wiener, 2010, upside down).

    Args:
        probability: of the answers, ``[N]``; right: bool ``[N]``, whether each is the label.
        weights: ``u``, ``[N]``, not negative; None counts every image once. ``1 / n_y`` makes a long-tailed
            validation split speak for balanced classes.
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
