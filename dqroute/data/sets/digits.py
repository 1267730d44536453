"""scikit-learn's scanned digits: real images, bundled, ready in a moment."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dqroute.data.draw import Draw
from dqroute.data.image_set import Augmentation, ImageSet, Split

SIZE = 32
CLASS_NAMES = tuple("0123456789")


def digits(
    *,
    imbalance: float | None = None,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    n_max: int | None = None,
    order: str = "label",
) -> ImageSet:
    """1,797 handwritten digits, scanned at 8x8 and enlarged to 32x32, one channel.

    The first half of each class is the training pool, the second half the test set, whatever the seed. The file
    runs through its 13 writers one after the other, so the halves share at most one writer.

    Args:
        imbalance, seed, groups, val: see :func:`dqroute.load`.
        n_max: training images of the largest class when an imbalance is given; 87 unless given, which every class has.
        order: ``"label"`` or ``"count"``, see :func:`dqroute.data.splits.head_to_tail`.
    """
    from sklearn.datasets import load_digits  # here, because it takes a second that other sets need not pay

    source = load_digits()
    images = enlarged(torch.from_numpy(source.images))
    labels = torch.from_numpy(source.target).long()
    pool, test = halves(labels)
    if imbalance is not None and n_max is None:
        n_max = int(torch.bincount(labels[pool]).min())
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    split = draw.split(labels[pool], CLASS_NAMES)

    def taken(indices: Tensor) -> Split:
        return Split(images[indices], labels[indices])

    return ImageSet(
        name="digits",
        train=taken(pool[split.train]),
        val=None if split.val is None else taken(pool[split.val]),
        test=taken(test),
        class_names=CLASS_NAMES,
        groups=draw.groups_of(split),
        augmentation=Augmentation(padding=2, flip=False),
        identity={"name": "digits", "version": 1} | draw.identity,
    )


def enlarged(scans: Tensor) -> Tensor:
    """``[N, 8, 8]`` in 0 to 16 to uint8 ``[N, 1, 32, 32]`` in 0 to 255, bilinear."""
    levels = (scans.float() * (255 / 16)).unsqueeze(1)
    return F.interpolate(levels, size=SIZE, mode="bilinear", align_corners=False).round().byte()


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the first and of the second half of each class, in order of the file."""
    first, second = [], []
    for c in labels.unique().tolist():
        members = (labels == c).nonzero().flatten()
        middle = (len(members) + 1) // 2
        first.append(members[:middle])
        second.append(members[middle:])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
