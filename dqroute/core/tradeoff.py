"""Trade-off curves: what a method gives up overall for each point of accuracy on few-shot classes.

Any trained method can buy few-shot accuracy with many-shot accuracy, by a stronger correction for the prior of the
training set: ``ŷ(x) = argmax_c log p(c|x) - τ log π_c``. A single point therefore says little about a method. Its
curve over τ does: of two methods the better one is higher at equal few-shot accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups

# Strengths of the correction. Below zero a method that overdoes it already is taken back.
SHIFTS = tuple(round(-1 + 0.05 * step, 2) for step in range(81))
GRID = np.linspace(0, 1, 1001)


class Point(NamedTuple):
    """Accuracies, 0 to 1, at one strength of the correction.

    Attributes:
        shift: τ.
        overall: of all images; many, medium, few: of the images of each shot group, NaN where there is none.
    """

    shift: float
    overall: float
    many: float
    medium: float
    few: float


def trade_off(
    log_probability: Tensor, labels: Tensor, groups: ShotGroups, log_pi: Tensor, shifts: Sequence[float] = SHIFTS
) -> list[Point]:
    """The accuracies of ``argmax_c log p(c|x) - τ log π_c``, one point a τ.

    Args:
        log_probability: ``[N, C]``, up to a constant an image, so that logits will do.
        labels: ``[N]``; groups: shot groups; log_pi: ``log π_c``, ``[C]``, see :func:`dqroute.core.losses.log_prior`.
        shifts: the values of τ.
    """
    group = groups.of_class()[labels]
    masks = [group == index for index in range(len(GROUP_NAMES))]
    points = []
    for shift in shifts:
        right = ((log_probability - shift * log_pi).argmax(dim=1) == labels).double()
        points.append(Point(shift, right.mean().item(), *(right[mask].mean().item() for mask in masks)))
    return points


def curve(points: Sequence[Point]) -> np.ndarray:
    """The highest overall accuracy at each few-shot accuracy of ``GRID``, NaN where the points do not reach.

    Between neighbouring values of τ the curve is a straight line. It ends where few-shot accuracy is largest. Stronger
    corrections take from the few-shot classes too, and would answer, far too low, for levels that the weakest one has
    left behind.

    Args:
        points: by rising τ, as :func:`trade_off` gives them.
    """
    best = np.full_like(GRID, np.nan)
    rising = points[: 1 + int(np.argmax([point.few for point in points]))]
    for a, b in zip(rising, rising[1:], strict=False):
        (low, at_low), (high, at_high) = sorted([(a.few, a.overall), (b.few, b.overall)])
        inside = (low <= GRID) & (high >= GRID)
        best[inside] = np.fmax(best[inside], np.interp(GRID[inside], [low, high], [at_low, at_high]))
    return best


def overall_at(points: Sequence[Point], few: float) -> float:
    """Overall accuracy where few-shot accuracy is ``few``; NaN where the curve does not reach it."""
    return float(np.interp(few, GRID, curve(points)))


def reach(points: Sequence[Point], drop: float = 0.01) -> float:
    """The largest few-shot accuracy at which the curve is still within ``drop`` of its highest point.

    NaN where there is no curve, because there are no few-shot images.
    """
    heights = curve(points)
    if np.isnan(heights).all():
        return float("nan")
    return float(GRID[heights >= np.nanmax(heights) - drop].max())


def area(points: Sequence[Point], low: float, high: float) -> float:
    """Mean overall accuracy over few-shot accuracies from ``low`` to ``high``; NaN if the curve leaves some out."""
    inside = (low <= GRID) & (high >= GRID)
    return float(curve(points)[inside].mean())
