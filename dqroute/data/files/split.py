"""Images and labels of which only the files are known: a split of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dqroute.data.files.decoding import decode, read_rgb
from dqroute.data.files.names import Names
from dqroute.data.files.reading import read_ahead
from dqroute.data.files.sizes import entries
from dqroute.data.pixels import pixel_statistics
from dqroute.data.splits import generator

STATISTICS_FROM = 1024  # images; their mean is within a level or so of the set's
CHUNK = 256


@dataclass(frozen=True)
class FileSplit:
    """What :class:`~dqroute.data.Split` is for a set that fits into memory, for one that does not.

    Memory holds the files' names, packed, and a few batches of pictures. Where images are looked at as they are, in
    evaluation and prediction, they are centred squares; training takes random parts of the whole picture.

    Attributes:
        base: the folder that names are relative to.
        names: of ``N`` image files, with ``/`` between folders.
        labels: int64 ``[N]``, class indices.
        size: side in pixels that images have once read.
    """

    base: Path = field(repr=False)
    names: Sequence[str] = field(repr=False)
    labels: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return 3, self.size, self.size

    @property
    def images(self) -> Tensor:
        """Nothing, because the images of a split of files are never all in memory.

        Raises:
            AttributeError: always, with what to use instead.
        """
        raise AttributeError(
            "these images stay in their files; use split.take([0, 1, 2]) for some, split.chunks() for all, or pass "
            "the split itself to predict"
        )

    def file(self, index: int) -> Path:
        """The file of an image."""
        return self.base / self.names[index]

    def take(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Some images, centred squares: uint8 ``[len(indices), 3, size, size]``."""
        return decode([self.names[int(i)] for i in indices], self.size, self.base)

    def chunks(self, number: int = CHUNK) -> Iterator[Tensor]:
        """All images in order, centred squares, ``number`` at a time: uint8 ``[number, 3, size, size]``.

        Raises:
            ValueError: naming the files that cannot be read.
        """
        return self.parts(torch.arange(len(self)), number)

    def parts(self, indices: Tensor, number: int = CHUNK) -> Iterator[Tensor]:
        """Like :meth:`chunks`, of the images at ``indices``."""

        def centred(file: Path, index: int) -> np.ndarray:
            return read_rgb(file, self.size, exact=False)

        return read_ahead(indices.split(number), self.file, centred, self.size, self.base)

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the pixels by channel, 0 to 255, of 1,024 images that the number of images decides."""
        drawn = torch.randperm(len(self), generator=generator("pixel statistics", len(self)))[:STATISTICS_FROM]
        return pixel_statistics(self.parts(drawn.sort().values))

    def content(self) -> Iterator[bytes]:
        """What a fingerprint is taken over: names and sizes of the files, the images' side, the labels.

        Raises:
            FileNotFoundError: naming files that are gone.
        """
        names = self.names if isinstance(self.names, Names) else Names(self.names)
        yield from entries(self.base, [names], "restore what is missing, or load the set again")
        yield f"{self.size}\n".encode()
        yield self.labels.contiguous().numpy().tobytes()
