"""CIFAR-10 and CIFAR-100 with the field's exponential profile, read by torchvision."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dqroute.data.draw import Draw
from dqroute.data.image_set import Augmentation, ImageSet, Split

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

DEFAULT_ROOT = "data"


def cifar10(
    *,
    imbalance: float | None = 100.0,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    n_max: int | None = None,
    order: str = "label",
) -> ImageSet:
    """CIFAR-10-LT: 10 classes, 5,000 images in the largest. Arguments as for :func:`cifar100`."""
    from torchvision.datasets import CIFAR10  # here, because it takes seconds that other sets need not pay

    return long_tailed_cifar(CIFAR10, "cifar10", root, download, Draw(imbalance, seed, groups, val, n_max, order))


def cifar100(
    *,
    imbalance: float | None = 100.0,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    n_max: int | None = None,
    order: str = "label",
) -> ImageSet:
    """CIFAR-100-LT: 100 classes, 500 images in the largest, class 0 the head.

    Args:
        imbalance, seed, groups, val: see :func:`dqroute.load`.
        root: the folder that holds, or is to hold, torchvision's copy; ``data`` unless given.
        download: fetch the archive (about 165 MB) if it is not there.
        n_max: training images of the largest class.
        order: ``"label"`` or ``"count"``, see :func:`dqroute.data.splits.head_to_tail`.

    Raises:
        FileNotFoundError: if the set is not there and was not to be downloaded, or could not be.
        ValueError: if an argument is out of range.
    """
    from torchvision.datasets import CIFAR100

    return long_tailed_cifar(CIFAR100, "cifar100", root, download, Draw(imbalance, seed, groups, val, n_max, order))


def long_tailed_cifar(
    source: type[CIFAR10], name: str, root: str | os.PathLike[str] | None, download: bool, draw: Draw
) -> ImageSet:
    """Read one of the two sets and draw its profile; see :func:`cifar100`."""
    folder = Path(DEFAULT_ROOT if root is None else root).expanduser()
    pool, class_names = read(source, name, folder, train=True, download=download)
    test, _ = read(source, name, folder, train=False, download=download)
    split = draw.split(pool.labels, class_names)

    def taken(indices: Tensor) -> Split:
        return Split(pool.images[indices], pool.labels[indices])

    return ImageSet(
        name=name,
        train=taken(split.train),
        val=None if split.val is None else taken(split.val),
        test=test,
        class_names=class_names,
        groups=draw.groups_of(split),
        augmentation=Augmentation(padding=4, flip=True),
        identity={"name": name, "version": 1} | draw.identity,
    )


def read(
    source: type[CIFAR10], name: str, folder: Path, *, train: bool, download: bool
) -> tuple[Split, tuple[str, ...]]:
    """One part of the archive as tensors, with the class names."""
    # torchvision answers a missing and a damaged copy alike with RuntimeError, a failed download with OSError.
    try:
        archive = source(str(folder), train=train, download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise FileNotFoundError(
                f"{name} could not be downloaded to {folder} ({error}); check the network, or put {source.filename} "
                f"from {source.url} into that folder yourself and unpack it there"
            ) from error
        raise FileNotFoundError(
            f"{name} is not in {folder}, or its copy there is damaged; pass download=True to fetch it, or root= the "
            f"folder that holds {source.base_folder}"
        ) from error
    images = torch.from_numpy(archive.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(archive.targets, dtype=torch.int64)), tuple(archive.classes)
