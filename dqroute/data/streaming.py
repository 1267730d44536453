"""Batches of photographs that stay in their files: decoded, cropped and mirrored along the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from dqroute.data.batches import Batches, batch_sizes, share_of
from dqroute.data.files.cropping import random_crop
from dqroute.data.files.reading import read_ahead
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import Augmentation, ImageSet, ResizedCrop


class StreamedBatches:
    """What :class:`~dqroute.data.batches.Batches` is for images in memory, for images in their files.

    Args:
        split: files and labels.
        augmentation: which part of a picture is taken.
        batch_size: the last batch of an epoch may be smaller, or one image larger.
        device: where batches go, as bytes; the model normalises them there.
        threads: that decode; as many as there are cores unless given.
        share: which part of each batch is made; see ``share_of`` in :mod:`dqroute.data.batches`.

    Attributes:
        sizes: images of each batch of an epoch, all shares together.
    """

    def __init__(
        self,
        split: FileSplit,
        augmentation: ResizedCrop,
        batch_size: int,
        device: torch.device,
        threads: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.split, self.augmentation, self.device, self.threads = split, augmentation, device, threads
        self.share = share
        self.sizes = batch_sizes(len(split), batch_size)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.sizes)

    def epoch(self, seed: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: uint8 ``[B, 3, size, size]`` (channels last in memory) and labels ``[B]``.

        Order and augmentation depend on the seed alone, so an interrupted training goes on as if it had not been.

        Args:
            seed: of order and augmentation.
            first: the batch to begin with, where an epoch is gone on with.

        Raises:
            ValueError: naming the files that cannot be read, when it is their batch's turn.
        """
        split, on_gpu = self.split, self.device.type == "cuda"
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        parts = [share_of(part, self.share) for part in order.split(self.sizes)[first:]]

        def cropped(file: Path, index: int) -> np.ndarray:
            # Random numbers of its own for each picture, so that no thread draws another's.
            return random_crop(file, split.size, self.augmentation, Random(seed << 64 | index))

        reading = read_ahead(parts, split.file, cropped, split.size, split.base, threads=self.threads, pinned=on_gpu)
        with closing(reading) as batches:
            for part, images in zip(parts, batches, strict=True):
                labels = split.labels[part]
                if on_gpu:
                    labels = labels.pin_memory()
                yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


def batches_of(
    data: ImageSet, batch_size: int, device: torch.device, share: tuple[int, int] = (0, 1)
) -> Batches | StreamedBatches:
    """The training batches of an image set, wherever its images are, or one process's share of them."""
    if isinstance(data.train, FileSplit):
        assert isinstance(data.augmentation, ResizedCrop)  # the image set has seen to it
        return StreamedBatches(data.train, data.augmentation, batch_size, device, share=share)
    assert isinstance(data.augmentation, Augmentation)
    return Batches(data.train, data.augmentation, batch_size, device, share)
