"""Training batches, shuffled and augmented: of images in memory, and of photographs that stay in their files.

A small set is one uint8 tensor on the device, stored with its padding and with channels last. A batch is then one
gather: the crop's offset and the flip are only a choice of rows and columns. Photographs are decoded, cropped and
mirrored by threads along the way. No worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqroute.data.files.cropping import random_crop
from dqroute.data.files.reading import read_ahead
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import Augmentation, FeatureSplit, ImageSet, ResizedCrop, Split


def share_of(part: Tensor, share: tuple[int, int]) -> Tensor:
    """What one of several processes takes of a batch: of ``(1, 3)`` the second third, to one image."""
    rank, count = share
    return part.tensor_split(count)[rank]


@dataclass
class AnyBatches:
    """An endless supply of epochs over one split, as bytes on the ``device``, where the model normalises them.

    The last batch of an epoch may be smaller than ``batch_size``, or one image larger; ``sizes`` tells the images of
    each, of which :func:`share_of` takes a ``share``.
    """

    split: Any
    augmentation: Any
    batch_size: int
    device: torch.device
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        full, rest = divmod(len(self.split), self.batch_size)
        self.sizes = [self.batch_size] * full + [rest] * (rest > 0)
        if len(self.sizes) > 1 and self.sizes[-1] == 1:
            # Batch norm cannot do with one image where the network leaves a single position.
            self.sizes[-2:] = [self.batch_size + 1]

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.sizes)

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """One epoch, from its batch ``first`` on: uint8 ``[B, channels, H, W]`` (channels last) and labels ``[B]``.

        Order and augmentation depend on the seed alone, so an interrupted training goes on as if it had not been.
        ValueError names files that cannot be read, when it is their batch's turn.
        """
        raise NotImplementedError

    def sent(self, drawn: Tensor) -> Tensor:
        """On the device, without waiting for what a GPU still has to do."""
        return drawn.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else drawn


@dataclass
class Batches(AnyBatches):
    """Batches of a split in memory, all of which is kept on the device."""

    split: Split
    augmentation: Augmentation

    def __post_init__(self) -> None:
        super().__post_init__()
        pad = self.augmentation.padding
        channels, self.height, self.width = self.split.shape
        # Written in place: padding first and changing the layout then would hold the set three times over.
        padded = (len(self.split), self.height + 2 * pad, self.width + 2 * pad, channels)
        images = torch.zeros(padded, dtype=torch.uint8)
        images[:, pad : pad + self.height, pad : pad + self.width] = self.split.images.permute(0, 2, 3, 1)
        self.images, self.labels = images.to(self.device), self.split.labels.to(self.device)

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed)
        n, pad = len(self.labels), self.augmentation.padding
        # Drawn on the CPU for all images at once: the same numbers on every device, and one transfer each an epoch.
        order = self.sent(torch.randperm(n, generator=generator))
        top, left = self.sent(torch.randint(2 * pad + 1, (2, n), generator=generator))
        flip = self.sent(torch.rand(n, generator=generator)) < 0.5
        down = torch.arange(self.height, device=self.device)
        across = torch.arange(self.width, device=self.device)
        for batch in torch.arange(n, device=self.device).split(self.sizes)[first:]:
            part = share_of(batch, self.share)  # positions in the shuffled order
            index, rows, columns = order[part], top[part, None] + down, left[part, None] + across
            if self.augmentation.flip:
                columns = torch.where(flip[part, None], columns.flip(1), columns)
            images = self.images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield images.permute(0, 3, 1, 2), self.labels[index]


@dataclass
class StreamedBatches(AnyBatches):
    """Batches of photographs in their files, decoded by ``threads`` (one for each core unless given)."""

    split: FileSplit
    augmentation: ResizedCrop
    threads: int | None = None

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, ...]]:
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


@dataclass
class FeatureBatches(AnyBatches):
    """Batches of features, all of which are kept on the device; with each image the fold that it is held out of."""

    split: FeatureSplit
    augmentation: None
    fold: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        fold = torch.full_like(self.split.labels, -1) if self.fold is None else self.fold
        mirrored = self.split.mirrored
        views = [self.split.features] if mirrored is None else [self.split.features, mirrored]
        self.views = [view.to(self.device) for view in views]
        self.held = [x.to(self.device) for x in (self.split.labels, fold)]

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed)
        order = self.sent(torch.randperm(len(self.split), generator=generator))
        mirror = self.sent(torch.rand(len(self.split), generator=generator)) < 0.5
        for part in order.split(self.sizes)[first:]:
            index = share_of(part, self.share)
            features = self.views[0][index]
            if len(self.views) > 1:
                features = torch.where(mirror[index, None], self.views[1][index], features)
            yield features, *(held[index] for held in self.held)


def batches_of(
    data: ImageSet, batch_size: int, device: torch.device, share: tuple[int, int] = (0, 1), fold: Tensor | None = None
) -> AnyBatches:
    """The training batches of an image set, wherever its images are, or one process's share of them.

    ``fold``, int64 ``[N]``, goes with features; see :func:`dqroute.core.judging.fold_of`.
    """
    if isinstance(data.train, FeatureSplit):
        return FeatureBatches(data.train, None, batch_size, device, share, fold)
    if isinstance(data.train, FileSplit):
        assert isinstance(data.augmentation, ResizedCrop)  # the image set has seen to it
        return StreamedBatches(data.train, data.augmentation, batch_size, device, share)
    assert isinstance(data.augmentation, Augmentation)
    return Batches(data.train, data.augmentation, batch_size, device, share)
