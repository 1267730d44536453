"""Training batches, shuffled and augmented: of images in memory, and of photographs that stay in their files.

A small set is one uint8 tensor on the device, stored with its padding and with channels last. A batch is then one
gather: the crop's offset and the flip are only a choice of rows and columns. Photographs are decoded, cropped and
mirrored by threads along the way. No worker processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from dqroute.data.files.cropping import random_crop
from dqroute.data.files.reading import read_ahead
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, Augmentation, ImageSet, ResizedCrop, Split


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


class AnyBatches(ABC):
    """An endless supply of epochs over one split.

    Args:
        split: images, in memory or in their files, and labels.
        batch_size: the last batch of an epoch may be smaller, or one image larger.
        device: where batches go, as bytes; the model normalises them there.
        share: which part of each batch is made; see :func:`share_of`.

    Attributes:
        sizes: images of each batch of an epoch, all shares together.
    """

    def __init__(self, split: AnySplit, batch_size: int, device: torch.device, share: tuple[int, int]) -> None:
        self.device, self.share = device, share
        self.sizes = batch_sizes(len(split), batch_size)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.sizes)

    @abstractmethod
    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: uint8 ``[B, channels, H, W]`` (channels last in memory) and labels ``[B]``.

        Order and augmentation depend on the seed alone, so an interrupted training goes on as if it had not been.

        Args:
            first: the batch to begin with, where an epoch is gone on with.

        Raises:
            ValueError: naming the files that cannot be read, when it is their batch's turn.
        """

    def sent(self, drawn: Tensor) -> Tensor:
        """On the device, without waiting for what a GPU still has to do."""
        return drawn.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else drawn


class Batches(AnyBatches):
    """Batches of a split in memory, all of which is kept on the device."""

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        batch_size: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(split, batch_size, device, share)
        self.augmentation, pad = augmentation, augmentation.padding
        channels, self.height, self.width = split.shape
        # Written in place: padding first and changing the layout then would hold the set three times over.
        padded = (len(split), self.height + 2 * pad, self.width + 2 * pad, channels)
        images = torch.zeros(padded, dtype=torch.uint8)
        images[:, pad : pad + self.height, pad : pad + self.width] = split.images.permute(0, 2, 3, 1)
        self.images, self.labels = images.to(device), split.labels.to(device)

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        n, pad = len(self.labels), self.augmentation.padding
        # Drawn on the CPU for all images at once: the same numbers on every device, and one transfer each an epoch.
        order = self.sent(torch.randperm(n, generator=generator))
        top, left = self.sent(torch.randint(2 * pad + 1, (2, n), generator=generator))
        flip = self.sent(torch.rand(n, generator=generator)) < 0.5
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
            yield images.permute(0, 3, 1, 2), self.labels[index]


class StreamedBatches(AnyBatches):
    """Batches of photographs in their files, decoded by ``threads`` (one for each core unless given)."""

    def __init__(
        self,
        split: FileSplit,
        augmentation: ResizedCrop,
        batch_size: int,
        device: torch.device,
        threads: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(split, batch_size, device, share)
        self.split, self.augmentation, self.threads = split, augmentation, threads

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        def cropped(file: Path, index: int) -> np.ndarray:
            # Random numbers of its own for each picture, so that no thread draws another's.
            return random_crop(file, split.size, self.augmentation, Random(seed << 64 | index))

        split, on_gpu = self.split, self.device.type == "cuda"
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        parts = [share_of(part, self.share) for part in order.split(self.sizes)[first:]]
        reading = read_ahead(parts, split.names, split.base, cropped, split.size, threads=self.threads, pinned=on_gpu)
        with closing(reading) as batches:
            for part, images in zip(parts, batches, strict=True):
                yield images.to(self.device, non_blocking=True), self.sent(split.labels[part])


def batches_of(data: ImageSet, batch_size: int, device: torch.device, share: tuple[int, int] = (0, 1)) -> AnyBatches:
    """The training batches of an image set, wherever its images are, or one process's share of them."""
    if isinstance(data.train, FileSplit):
        assert isinstance(data.augmentation, ResizedCrop)  # the image set has seen to it
        return StreamedBatches(data.train, data.augmentation, batch_size, device, share=share)
    assert isinstance(data.augmentation, Augmentation)
    return Batches(data.train, data.augmentation, batch_size, device, share)
