"""Mean and deviation of pixels, which networks are fed relative to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

LEVELS = 256


def pixel_statistics(images: Tensor | Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels by channel, 0 to 255, from a histogram: exact, and small in memory.

    Args:
        images: uint8 ``[N, channels, H, W]``, or such tensors one after the other.
    """
    histogram = torch.zeros(0)
    for chunk in [images] if isinstance(images, Tensor) else images:
        found = torch.stack([torch.bincount(c.flatten(), minlength=LEVELS) for c in chunk.unbind(dim=1)])
        histogram = histogram + found if len(histogram) else found
    levels = torch.arange(LEVELS, dtype=torch.float64)
    mean, std = [], []
    for share in histogram.double():
        share = share / share.sum()
        average = (share * levels).sum()
        mean.append(round(average.item(), 4))
        std.append(round((share * (levels - average) ** 2).sum().sqrt().clamp_min(1.0).item(), 4))
    return tuple(mean), tuple(std)
