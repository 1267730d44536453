"""Measures of accuracy that let rare classes count, and of how far stated probabilities are to be believed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups


def accuracies(predicted: Tensor, labels: Tensor, groups: ShotGroups) -> dict[str, Any]:
    """All measures of accuracy, of classes said and true, int64 ``[N]``; shares from 0 to 1, None of no images.

    ``overall`` counts images alike, ``balanced`` and ``macro_f1`` classes; ``many``, ``medium`` and ``few`` are of the
    images of these classes, ``worst`` is of the fifth of the classes that does worst; ``harmonic`` is the harmonic mean
    over classes, one that is never right counting as right on half an image.
    """
    number, right, group = groups.num_classes, predicted == labels, groups.of_class()[labels]
    images, said = (of.bincount(minlength=number).double() for of in (labels, predicted))
    hits, held = labels[right].bincount(minlength=number).double(), images > 0
    accuracy = (hits / images)[held]
    fifth = accuracy.sort().values[: max(1, len(accuracy) // 5)]
    return {
        "overall": mean(right),
        "balanced": accuracy.mean().item(),
        **{shot: mean(right[group == index]) for index, shot in enumerate(GROUP_NAMES)},
        "worst": fifth.mean().item(),
        "harmonic": 1 / (images[held] / hits[held].clamp_min(0.5)).mean().item(),
        "macro_f1": (2 * hits / (images + said))[held].mean().item(),
    }


def mean(rows: Tensor) -> Any:
    """The mean of rows, or the share of what is true, as plain numbers; None of nothing."""
    return rows.float().mean(dim=0).tolist() if len(rows) else None


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float | None:
    """Expected calibration error ``Σ_m (n_m / N) |accuracy_m - confidence_m|`` over equal bins (Guo et al., 2017).

    Of probabilities ``[N, C]`` and labels ``[N]``; 0 to 1, None of no images.
    """
    if not len(labels):
        return None
    sure, said = probabilities.max(dim=1)
    # A probability of 1 has a bin of its own, as in other people's code.
    edges = torch.linspace(0, 1, bins + 1, device=sure.device)
    place = torch.bucketize(sure, edges, right=True) - 1
    gaps = torch.zeros_like(edges).double().index_add_(0, place, (said == labels).double() - sure.double())
    return (gaps.abs().sum() / len(labels)).item()
