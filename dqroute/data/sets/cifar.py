"""CIFAR-10 and CIFAR-100 with the field's exponential profile, read by torchvision."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dqroute.data.draw import Draw
from dqroute.data.image_set import Augmentation, ImageSet, Split


def cifar(
    classes: int,
    *,
    imbalance: float | None = 100.0,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    n_max: int | None = None,
    order: str | list[int] = "label",
) -> ImageSet:
    """CIFAR-10-LT or CIFAR-100-LT: 5,000 or 500 images in the largest class, class 0, the head.

    Args:
        classes: 10 or 100, for ``"cifar10"`` and ``"cifar100"``.
        imbalance, seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
        root: the folder that holds, or is to hold, torchvision's copy; ``data`` unless given.
        download: fetch the archive (about 165 MB) if it is not there. FileNotFoundError if it is not, or cannot be had.
    """
    from torchvision.datasets import CIFAR10, CIFAR100  # here, because it takes seconds that other sets need not pay

    source, name, folder = CIFAR10 if classes == 10 else CIFAR100, f"cifar{classes}", Path(root or "data").expanduser()
    # torchvision answers a missing and a damaged copy alike with RuntimeError, a failed download with OSError.
    try:
        archives = [source(str(folder), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(
            f"{name} could not be downloaded to {folder} ({error}); check the network, or put {source.filename} from "
            f"{source.url} into that folder yourself and unpack it there"
            if download
            else f"{name} is not in {folder}, or its copy there is damaged; pass download=True to fetch it, or root= "
            f"the folder that holds {source.base_folder}"
        ) from error
    pool, test = (
        Split(torch.from_numpy(archive.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(archive.targets))
        for archive in archives
    )
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    return ImageSet.drawn(
        draw,
        pool.labels,
        pool.at,
        name=name,
        test=test,
        class_names=tuple(archives[0].classes),
        augmentation=Augmentation(padding=4, flip=True),
        identity={"name": name, "version": 1} | draw.identity,
    )
