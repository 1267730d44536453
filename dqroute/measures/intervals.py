"""How far off a share may be that was counted on few images."""

from __future__ import annotations

import torch
from torch import Tensor


def wilson(share: Tensor, number: Tensor, z: float = 1.959964) -> tuple[Tensor, Tensor]:
    """The interval of a share counted on ``number`` images, 95 % unless another z is given; 0 and 1 of no image.

    ``(p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`` (Wilson, 1927): sound for few images too, and for a share
    of 0 or 1.
    """
    n, p = number.double(), share.double().nan_to_num(0.5)
    middle, spread = p * n + z**2 / 2, z * (p * (1 - p) * n + z**2 / 4).sqrt()
    return ((middle - spread) / (n + z**2)).clamp_min(0), ((middle + spread) / (n + z**2)).clamp_max(1)


def alike(number: Tensor) -> Tensor:
    """As how many images those of all classes count, ``[C]`` of each, for a mean in which classes count alike.

    ``C² / Σ_c 1/n_c`` over the C classes that have an image, by the variance of that mean (Kish, 1965).
    """
    held = number[number > 0].double()
    return len(held) ** 2 / held.reciprocal().sum()


def independent(labels: Tensor, num_classes: int, groups: Tensor | None = None) -> Tensor:
    """As how many independent images those of each class count, ``[C]``, where groups of them stand or fall together.

    ``(Σ_g m_g)² / Σ_g m_g²``, ``m_g`` the class's images in group g: of groups of one size their number (Kish, 1965).
    As if a group, a burst or a patient, were right or wrong as a whole: at worst.

    Args:
        labels: int64 ``[N]``; groups: int64 ``[N]``, None where each image stands alone.
    """
    counts = labels.bincount(minlength=num_classes).double()
    if groups is None:
        return counts
    number = int(groups.max()) + 1 if len(groups) else 1
    pairs, sizes = (labels * number + groups).unique(return_counts=True)
    squares = torch.zeros_like(counts).index_add_(0, pairs // number, sizes.double().square())
    return counts.square() / squares.clamp_min(1)
