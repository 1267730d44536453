"""scikit-learn's scanned digits: real images, bundled, ready in a moment."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dqroute.data.draw import Draw
from dqroute.data.image_set import Augmentation, ImageSet, Split


def digits(
    *,
    imbalance: float | None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    n_max: int | None = None,
    order: str | list[int] = "label",
) -> ImageSet:
    """1,797 handwritten digits, scanned at 8x8 and enlarged to 32x32, one channel.

    The first half of each class is the training pool, the second half the test set, whatever the seed. The file
    runs through its 13 writers one after the other, so the halves share at most one writer.

    Args:
        imbalance, seed, groups, val, order: see :class:`dqroute.data.draw.Draw`.
        n_max: training images of the largest class when an imbalance is given; 87 unless given, which every class has.
    """
    from sklearn.datasets import load_digits  # here, because it takes a second that other sets need not pay

    source = load_digits()
    whole = Split(enlarged(torch.from_numpy(source.images)), torch.from_numpy(source.target).long())
    pool, test = map(whole.at, halves(whole.labels))
    if imbalance is not None and n_max is None:
        n_max = int(torch.bincount(pool.labels).min())
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    return ImageSet.drawn(
        draw,
        pool.labels,
        pool.at,
        name="digits",
        test=test,
        class_names=tuple("0123456789"),
        augmentation=Augmentation(padding=2, flip=False),
        identity={"name": "digits", "version": 1} | draw.identity,
    )


def enlarged(scans: Tensor) -> Tensor:
    """``[N, 8, 8]`` in 0 to 16 to uint8 ``[N, 1, 32, 32]`` in 0 to 255, bilinear."""
    levels = (scans.float() * (255 / 16)).unsqueeze(1)
    return interpolate(levels, size=32, mode="bilinear", align_corners=False).round().byte()


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the first and of the second half of each class, in order of the file."""
    members = [(labels == c).nonzero().flatten().tensor_split(2) for c in labels.unique()]
    first, second = (torch.cat(parts).sort().values for parts in zip(*members, strict=True))
    return first, second
