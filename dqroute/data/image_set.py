"""What every data set is, once loaded: labelled images for training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.draw import Draw
from dqroute.data.files.reading import listed
from dqroute.data.files.split import FileSplit, Labelled, pixel_statistics
from dqroute.data.markup import box, line, number_of, picture
from dqroute.measures.groups import mixed

SHOWN = 6  # pictures of a shot group that a notebook shows


@dataclass(frozen=True, repr=False)
class Split(Labelled):
    """Images in memory: uint8 ``[N, channels, height, width]``, 0 to 255, and their classes, int64 ``[N]``.

    ``names`` are those of the files that they were read from, if any, below the set's folder.
    """

    images: Tensor
    labels: Tensor
    names: Sequence[str] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def at(self, indices: Tensor) -> Split:
        """The split of some images."""
        names = None if self.names is None else [self.names[i] for i in indices.tolist()]
        return Split(self.images[indices], self.labels[indices], names)

    def take(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Some images: uint8 ``[len(indices), channels, height, width]``."""
        return self.images[torch.as_tensor(indices, dtype=torch.int64)]

    def chunks(self, number: int) -> Iterator[Tensor]:
        """All images in order, ``number`` at a time."""
        return iter(self.images.split(number))

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of the pixels by channel, 0 to 255."""
        return pixel_statistics([self.images])

    def content(self) -> Iterator[memoryview]:
        """What a fingerprint is taken over: every pixel and label."""
        yield self.images.contiguous().numpy().reshape(-1).data
        yield self.labels.contiguous().numpy().data


@dataclass(frozen=True, repr=False)
class FeatureSplit(Labelled):
    """Pictures as a pretrained encoder sees them: float32 ``[N, D]``, and their classes, int64 ``[N]``.

    ``pictures`` are those that the features were made of, where they are at hand; ``mirrored``, ``[N, D]``, the
    features of their mirror images, of which training takes one or the other; ``whole`` gives the features as they come
    from the encoder, some thousand rows at a time.
    """

    features: Tensor
    labels: Tensor
    pictures: Split | FileSplit | None = None
    mirrored: Tensor | None = None
    whole: Callable[[], Iterable[Tensor]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(D,)``."""
        return tuple(self.features.shape[1:])

    @property
    def names(self) -> Sequence[str] | None:
        """Those of the pictures' files, where they are known."""
        return None if self.pictures is None else self.pictures.names

    @property
    def images(self) -> Tensor:
        """Those of the pictures; the AttributeError says where there are none."""
        return self._seen().images

    def _seen(self) -> Split | FileSplit:
        if self.pictures is None:
            raise AttributeError("of these pictures only the features are here; predict takes the split itself")
        return self.pictures

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means of 0 and deviations of 1 for three channels, because nothing is left to be normalised."""
        return (0.0,) * 3, (1.0,) * 3

    def at(self, indices: Tensor) -> FeatureSplit:
        """The split of some pictures; ``whole`` is of all, and stays behind."""
        seen = None if self.pictures is None else self.pictures.at(indices)
        mirrored = None if self.mirrored is None else self.mirrored[indices]
        return FeatureSplit(self.features[indices], self.labels[indices], seen, mirrored)

    def take(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Some of the pictures themselves, uint8."""
        return self._seen().take(indices)

    def chunks(self, number: int) -> Iterator[Tensor]:
        """All features in order, ``number`` pictures at a time."""
        return iter(self.features.split(number))

    def content(self) -> Iterator[Any]:
        """What a fingerprint is taken over: the pictures, or where they are not at hand their features."""
        if self.pictures is not None:
            yield from self.pictures.content()
        else:
            yield self.features.contiguous().numpy().reshape(-1).data
            yield self.labels.contiguous().numpy().data


@dataclass(frozen=True)
class Encoding:
    """How a picture becomes the features of a set: ``(encoder(picture) - centre) / scale @ axes``.

    Attributes:
        backbone: the encoder's name; weights: their SHA-256.
        size: side of the square that it sees, in pixels; interpolation: how a picture comes to it.
        centre, scale: ``[D']``; axes: ``[D', D]``.
    """

    backbone: str
    weights: str
    size: int
    interpolation: str
    centre: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    axes: Tensor = field(repr=False)


AnySplit = Split | FileSplit | FeatureSplit


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images in memory that leave their class as it is."""

    padding: int = 4  # zero pixels added on each side before a crop to the old size
    flip: bool = True  # whether left and right may be swapped (never for characters)


@dataclass(frozen=True)
class ResizedCrop:
    """How training takes part of a photograph; see :func:`dqroute.data.files.cropping.draw_box`."""

    scale: tuple[float, float] = (0.08, 1.0)  # smallest and largest share of the picture's area
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # smallest and largest width over height
    flip: bool = True  # whether left and right may be swapped

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale is two shares of the area in order, above 0 and up to 1; got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio is two widths over heights in order, above 0; got {self.ratio}")


@dataclass(frozen=True)
class ImageSet:
    """A long-tailed image set, ready to train on.

    Attributes:
        name: as given to :func:`dqroute.load`, without any path.
        train, test, val: the splits, in memory or in their files; None where there is none. A run on a set without test
            images is judged out of fold, and ``identity`` says ``"test": 0``.
        class_names: ``C`` names, in label order.
        groups: shot groups by the counts before a validation split was held out, so that choices and final runs
            speak of the same groups.
        augmentation: what training may do to images: :class:`Augmentation` in memory, :class:`ResizedCrop` in files;
            nothing to features.
        identity: everything that decides which images these are, JSON-ready and free of machine paths. Files are
            told apart by name and size; :meth:`fingerprint` tells every pixel of a set in memory. What the files
            hold is noted with a run.
        true_difficulty: float ``[C]`` or None: the error rate of each class, known only where it can be measured
            apart from rarity (see :mod:`dqroute.data.sets.glyphs`).
        encoding: how a picture becomes features, in a set of features.
        together: int64 ``[N]`` or None: a number for each training image, the same for those that belong together, as
            the frames of a burst do; they are never on both sides of a fold.
        held_together: the same of the other splits, by name: a burst that is tested on is not as many tests as frames.
        notes: what a user should know of how the set came about, in sentences.
    """

    name: str
    train: AnySplit
    test: AnySplit | None
    class_names: tuple[str, ...]
    groups: ShotGroups
    augmentation: Augmentation | ResizedCrop | None
    identity: dict[str, Any]
    val: AnySplit | None = None
    true_difficulty: Tensor | None = field(default=None, repr=False)
    encoding: Encoding | None = None
    together: Tensor | None = field(default=None, repr=False)
    held_together: Mapping[str, Tensor] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def drawn(cls, draw: Draw, labels: Tensor, at: Callable[[Tensor], AnySplit], **others: Any) -> ImageSet:
        """A set, the ``others`` its attributes, drawn from a pool: labels, int64 ``[N]``, and images ``at`` indices."""
        split = draw.split(labels, others["class_names"])
        if split.val is not None:
            others["val"] = at(split.val)
        if others.get("together") is not None:
            others["together"] = others["together"][split.train]
        groups = draw.groups_of(split)
        if (note := mixed(groups, split.counts)) is not None:
            others["notes"] = (*others.get("notes", ()), note)
        return cls(train=at(split.train), groups=groups, **others)

    def __post_init__(self) -> None:
        for name in (self.name, *self.class_names):
            if any("\ud800" <= letter <= "\udfff" for letter in name):  # as a folder's name may have
                raise ValueError(f"the name {ascii(name)} is not UTF-8, as all files here are; rename the folder")
        for part, split in self.splits.items():
            check_split(split, self.num_classes, part)
        if self.test is None:
            object.__setattr__(self, "identity", self.identity | {"test": 0})
        kinds = {FileSplit: ("files", ResizedCrop), Split: ("memory", Augmentation), FeatureSplit: ("features", None)}
        place, takes = kinds[type(self.train)]
        if not isinstance(self.augmentation, takes or NoneType):
            wanted = takes.__name__ if takes else "no augmentation"
            raise ValueError(f"training images in {place} take {wanted}; got augmentation={self.augmentation}")
        if isinstance(self.train, FeatureSplit) != (self.encoding is not None):
            raise ValueError("a set of features has an encoding, and no other set")
        if empty := [name for name, count in zip(self.class_names, self.counts.tolist(), strict=True) if count == 0]:
            wrong = f"no training image for class {listed(empty)}"
            raise ValueError(f"{self.name}: {wrong}; add images or remove the class")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self._told()}>"

    def _told(self) -> str:
        """How many classes, and images of each part."""
        held = ", ".join(f"{len(split):,} for {part}" for part, split in self.splits.items())
        return f"{number_of(self.num_classes)}; {held}"

    def _repr_html_(self) -> str:
        """For notebooks: how many of what, some pictures of each shot group, and the notes."""
        counts, parts = self.counts, [line(self._told())]
        for name in GROUP_NAMES:
            members = list(self.groups[name])
            if not members:
                continue
            least, most = (f"{int(end):,}" for end in counts[members].aminmax())
            told = least if least == most else f"{least} to {most}"
            parts.append(line(f"{name}: {number_of(len(members))} of {told} training pictures"))
            # One each of classes, from the largest down; of files that cannot be read, or features alone, none.
            members.sort(key=lambda c: -int(counts[c]))
            chosen = [members[i * len(members) // SHOWN] for i in range(SHOWN)] if len(members) > SHOWN else members
            with suppress(AttributeError, ValueError, OSError):
                seen = self.train.take([int((self.train.labels == c).nonzero()[0]) for c in chosen])
                alts = [f"{self.class_names[c]}, one of {int(counts[c]):,}" for c in chosen]
                parts += [picture(image, alt) + " " for image, alt in zip(seen, alts, strict=True)]
        return box(self.name, *parts, *map(line, self.notes))

    @property
    def splits(self) -> dict[str, AnySplit]:
        """The splits there are, by name."""
        parts = {"train": self.train, "test": self.test, "val": self.val}
        return {part: split for part, split in parts.items() if split is not None}

    def together_in(self, *parts: str) -> Tensor | None:
        """The group of each image of these splits, one after the other; None where each image stands alone."""
        known = dict(self.held_together or {}) | ({} if self.together is None else {"train": self.together})
        return torch.cat([known[part] for part in parts]) if all(part in known for part in parts) else None

    @property
    def num_classes(self) -> int:
        """``C``."""
        return len(self.class_names)

    @property
    def counts(self) -> Tensor:
        """int64 ``[C]``: training images per class."""
        return torch.bincount(self.train.labels, minlength=self.num_classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height, width; of features their number."""
        return self.train.shape

    @property
    def augmentation_told(self) -> dict[str, Any]:
        """The augmentation, JSON-ready."""
        return {} if self.augmentation is None else dict(vars(self.augmentation))

    @property
    def imbalance(self) -> float:
        """Largest over smallest class, as drawn."""
        return (self.counts.max() / self.counts.min()).item()

    def fingerprint(self) -> str:
        """SHA-256 over every pixel and label, for provenance: equal on two machines when the images are.

        Of images that stay in their files, which take an epoch to read, over names, sizes in bytes and labels instead.
        """
        digest = hashlib.sha256()
        for part, split in sorted(self.splits.items()):
            digest.update(part.encode())
            for piece in split.content():
                digest.update(piece)
        return digest.hexdigest()


def check_split(split: AnySplit, num_classes: int, part: str) -> None:
    """Raise ValueError unless images and labels fit each other and the classes."""
    labels = split.labels
    rows = {FileSplit: "names", Split: "images", FeatureSplit: "features"}[type(split)]
    number = len(getattr(split, rows))
    if isinstance(split, Split) and (split.images.dtype != torch.uint8 or split.images.ndim != 4):
        got = f"{split.images.dtype} {list(split.images.shape)}"
        raise ValueError(f"{part} images must be uint8 [N, channels, height, width]; got {got}")
    if isinstance(split, FeatureSplit) and not (split.features.ndim == 2 and torch.isfinite(split.features).all()):
        raise ValueError(f"{part} features must be finite numbers [N, D]; got {list(split.features.shape)} or NaN")
    if labels.dtype != torch.int64 or labels.shape != (number,):
        got = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"{part} labels must be int64 [{number}], one for each image; got {got}")
    if number == 0:
        raise ValueError(f"the {part} split holds no image")
    if len(bad := labels[(labels < 0) | (labels >= num_classes)]):
        raise ValueError(
            f"{part} label {int(bad[0])} is out of range: there are {num_classes} classes, so labels run from 0 to "
            f"{num_classes - 1}"
        )
