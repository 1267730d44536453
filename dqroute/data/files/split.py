"""Images and labels of which only the files are known: a split of any size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqroute.data.draw import generator
from dqroute.data.feature_cache import key_of
from dqroute.data.files.decoding import read_rgb, regular
from dqroute.data.files.reading import CHUNK, Failures, cores, decode, each, named, read_ahead
from dqroute.data.markup import number_of

STATISTICS_FROM = 1024  # images; their mean is within a level or so of the set's
TOGETHER = 64  # files that a thread reads at a time
SMALL = 8  # side in pixels of a picture that is only to be decoded: an eighth of the work is done


class Labelled:
    """What all kinds of splits have in common; shown in one line, because tensors would fill pages."""

    shape: Any
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape)) + " features" * (len(self.shape) == 1)
        return f"<{type(self).__name__}: {len(self):,} images of {shape}, {number_of(len(self.labels.unique()))}>"


@dataclass(frozen=True, repr=False)
class FileSplit(Labelled):
    """What :class:`~dqroute.data.Split` is for a set that fits into memory, for one that does not.

    ``names`` are those of ``N`` image files below the folder ``base``, ``labels`` int64 ``[N]``. Evaluation and
    prediction see squares of side ``size``, centred unless ``fit`` says otherwise
    (:func:`dqroute.data.files.decoding.read_rgb`); training takes random parts of the whole picture.
    """

    base: Path
    names: Sequence[str]
    labels: Tensor
    size: int
    fit: str = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return 3, self.size, self.size

    @property
    def images(self) -> Tensor:
        """Not there; the AttributeError says what to use instead."""
        raise AttributeError(
            "these images stay in their files; use split.take([0, 1, 2]) for some, split.chunks() for all, or pass "
            "the split itself to predict"
        )

    def file(self, index: int) -> Path:
        """The file of an image."""
        return self.base / self.names[index]

    def at(self, indices: Tensor) -> FileSplit:
        """The split of some images."""
        names = [self.names[i] for i in indices.tolist()]
        return FileSplit(self.base, names, self.labels[indices], self.size, self.fit)

    def take(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Some images, centred squares: uint8 ``[len(indices), 3, size, size]``."""
        return decode([self.names[int(i)] for i in indices], self.size, self.base, fit=self.fit)

    def chunks(self, number: int = CHUNK) -> Iterator[Tensor]:
        """All images in order, centred squares, ``number`` at a time: uint8 ``[number, 3, size, size]``."""
        parts = torch.arange(len(self)).split(number)
        read = partial(read_rgb, side=self.size, fit=self.fit)
        return read_ahead(parts, self.names, self.base, lambda file, _: read(file), self.size)

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the pixels by channel, 0 to 255, of 1,024 images that the number of images decides."""
        drawn = torch.randperm(len(self), generator=generator("pixel statistics", len(self)))[:STATISTICS_FROM]
        return pixel_statistics(self.at(drawn.sort().values).chunks())

    @cached_property
    def keys(self) -> list[bytes]:
        """What tells each picture from others, 16 bytes of SHA-256 over its file; ValueError names unreadable ones."""
        if bad := self.look(lambda _: False):
            raise ValueError(f"cannot read {named(bad)}; restore such files, or load the set again")
        return vars(self)["keys"]

    def look(self, decoded: Callable[[bytes], bool], told: Callable[[], object] = lambda: None) -> Failures:
        """Read each file once, and decode those whose key ``decoded`` says so of: which are damaged or gone, and why.

        Where none is, the :attr:`keys` are kept. ``told`` is called after each.
        """

        def seen(name: str) -> bytes | Exception:
            # Damaged files raise almost anything: OSError, SyntaxError, ValueError, struct.error, EOFError.
            try:
                content = regular(self.base / name).read_bytes()
                key = key_of(content)
                if decoded(key):
                    read_rgb(io.BytesIO(content), SMALL)
            except Exception as error:
                return error
            return key

        keys, bad = list[bytes](), Failures()
        for name, found in zip(self.names, each(seen, self.names, cores(), TOGETHER), strict=True):
            if isinstance(found, bytes):
                keys.append(found)
            else:
                bad.append((name, found))
            told()
        if not bad:
            vars(self)["keys"] = keys
        return bad

    def content(self) -> Iterator[bytes]:
        """What a fingerprint is taken over: names and sizes of the files (none may be gone), images' side, labels."""
        yield from entries(self.base, self.names, "restore what is missing, or load the set again")
        yield f"{self.size}\n".encode()
        yield self.labels.contiguous().numpy().tobytes()


def pixel_statistics(images: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation (at least 1) by channel of uint8 ``[N, channels, H, W]``, given in pieces.

    From a histogram: exact, and small in memory.
    """
    histogram = torch.zeros(1, dtype=torch.int64)
    for chunk in images:
        histogram = histogram + torch.stack([torch.bincount(c.flatten(), minlength=256) for c in chunk.unbind(dim=1)])
    share = histogram.double() / histogram.sum(dim=1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64)
    mean = (share * levels).sum(dim=1, keepdim=True)
    deviation = (share * (levels - mean) ** 2).sum(dim=1).sqrt().clamp_min(1.0)
    return tuple(round(m, 4) for m in mean.flatten().tolist()), tuple(round(d, 4) for d in deviation.tolist())


def entries(base: Path, names: Sequence[str], remedy: str) -> Iterator[bytes]:
    """A line of a digest for each file: its name below ``base``, and its size in bytes.

    FileNotFoundError names files that are missing (a folder, a pipe or a link to nowhere is no file), and the remedy.
    """

    def size_of(name: str) -> int | Exception:
        try:
            return regular(base / name).stat().st_size
        except OSError as error:
            return error

    found = list(each(size_of, names))
    if gone := [(name, size) for name, size in zip(names, found, strict=True) if isinstance(size, Exception)]:
        are = "files are" if len(names) > 1 else "file is"
        told = f"{named(gone[:5])}{', …' * (len(gone) > 5)}"
        raise FileNotFoundError(f"{len(gone):,} of {len(names):,} {are} missing below {base}: {told}; {remedy}")
    for name, size in zip(names, found, strict=True):
        yield os.fsencode(name) + f"\0{size}\n".encode()
