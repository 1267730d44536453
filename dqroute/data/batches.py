"""Batches of a small image set, shuffled and augmented where the images live.

The whole split is one uint8 tensor on the device, stored with its padding and with channels last. A batch is then
one gather: the crop's offset and the flip are only a choice of rows and columns. No worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dqroute.data.image_set import Augmentation, Split


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """How many of ``n`` images are in each batch of an epoch.

    A last batch of one image joins the one before it, because batch norm cannot do with one image where the network
    leaves a single position.
    """
    full, rest = divmod(n, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    return [*sizes[:-2], sizes[-2] + 1] if len(sizes) > 1 and sizes[-1] == 1 else sizes


def share_of(part: Tensor, share: tuple[int, int]) -> Tensor:
    """What one of several processes takes of a batch: of ``(1, 3)`` the second third, to one image."""
    rank, count = share
    return part.tensor_split(count)[rank] if count > 1 else part


class Batches:
    """An endless supply of epochs over one split.

    Args:
        split: images and labels.
        augmentation: what may be done to the images.
        batch_size: the last batch of an epoch may be smaller, or one image larger.
        device: where images are kept and batches are made.
        share: which part of each batch is made; see ``share_of``.

    Attributes:
        sizes: images of each batch of an epoch, all shares together.
    """

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        batch_size: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        pad = augmentation.padding
        channels, self.height, self.width = split.shape
        # Written in place: padding first and changing the layout then would hold the set three times over.
        padded = (len(split), self.height + 2 * pad, self.width + 2 * pad, channels)
        images = torch.zeros(padded, dtype=torch.uint8)
        images[:, pad : pad + self.height, pad : pad + self.width] = split.images.permute(0, 2, 3, 1)
        self.images, self.labels = images.to(device), split.labels.to(device)
        self.augmentation, self.device, self.share = augmentation, device, share
        self.sizes = batch_sizes(len(self.labels), batch_size)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.sizes)

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: uint8 ``[B, channels, H, W]`` (channels last in memory) and labels ``[B]``.

        Order and augmentation depend on the seed alone, so an interrupted training goes on as if it had not been.

        Args:
            seed: of order and augmentation.
            first: the batch to begin with, where an epoch is gone on with.
        """
        generator = torch.Generator().manual_seed(seed)
        n, pad = len(self.labels), self.augmentation.padding
        # Drawn on the CPU for all images at once: the same numbers on every device, and one transfer each an epoch.
        order = self._sent(torch.randperm(n, generator=generator))
        top, left = self._sent(torch.randint(2 * pad + 1, (2, n), generator=generator))
        flip = self._sent(torch.rand(n, generator=generator)) < 0.5
        hole = self._sent(torch.rand(2, n, generator=generator)) if self.augmentation.cutout else None
        down = torch.arange(self.height, device=self.device)
        across = torch.arange(self.width, device=self.device)
        # Positions in the shuffled order, batch by batch.
        for part in torch.arange(n, device=self.device).split(self.sizes)[first:]:
            part = share_of(part, self.share)
            index = order[part]
            rows = top[part, None] + down
            columns = left[part, None] + across
            if self.augmentation.flip:
                columns = torch.where(flip[part, None], columns.flip(1), columns)
            images = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            if hole is not None:
                images = images.masked_fill(self._hole(hole[:, part])[..., None], 0)
            yield images.permute(0, 3, 1, 2), self.labels[index]

    def _sent(self, drawn: Tensor) -> Tensor:
        """On the device, without waiting for what a GPU still has to do."""
        return drawn.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else drawn

    def _hole(self, centre: Tensor) -> Tensor:
        """bool ``[B, H, W]``, true in a square around each relative centre ``[2, B]``."""
        inside = []
        for relative, size in zip(centre, (self.height, self.width), strict=True):
            first = (relative * size).floor()[:, None] - self.augmentation.cutout // 2
            place = torch.arange(size, device=self.device)
            inside.append((place >= first) & (place < first + self.augmentation.cutout))
        return inside[0][:, :, None] & inside[1][:, None, :]
