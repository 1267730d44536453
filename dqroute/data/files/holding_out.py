"""Which images of a pool are held out for testing or validation, where nobody has said it: stratified, and by group.

The order in which the pictures of a class are taken is decided by each one alone and the seed. So those that come later
move few of those that were dealt before, and a class that comes moves none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from os import fsencode
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dqroute.data.files.copies import beginning
from dqroute.data.files.reading import each

OVER = 0.25  # of what is asked for, by which groups may overshoot it so that a class has a picture there


def ranks(base: Path, names: Sequence[str], groups: Mapping[str, str] | None, seed: int) -> Tensor:
    """The place of each picture below ``base`` in the order in which they are held out, int64 ``[N]``, 0 to N - 1.

    By SHA-256 of the seed and what the picture's group is called, without groups of the beginning of its file; of those
    that begin alike by their own names.
    """

    def numbers(values: Iterable[bytes]) -> np.ndarray:
        return np.fromiter((int.from_bytes(sha256(salt + value).digest()[:8]) for value in values), np.uint64)

    salt = b"%d\0" % seed
    begins = (
        each(lambda name: beginning(base / name), names) if groups is None else (fsencode(groups[n]) for n in names)
    )
    first, then = numbers(begins), numbers(fsencode(name.rpartition("/")[2]) for name in names)
    order = torch.from_numpy(np.lexsort((then, first)))
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))


def held_out(labels: Tensor, share: float, rank: Tensor, together: Tensor | None = None) -> Tensor:
    """Which images are held out, bool ``[N]``: a share of each class, as near as it goes, the first by ``rank``.

    At least one image of a class that has two, and at least one stays. Images that belong ``together``, int64 ``[N]``,
    a burst or a patient having one number, are held out together or not at all, in the place of the first of them; a
    class of which all lie together stays whole. A group of several classes is held out where that brings all of them
    together nearer to the share; for the sake of one class that has no image there yet where they do not overshoot it
    by more than ``OVER``, or where none of them has an image there. So large groups may leave a class without. What
    happens to one class never moves another, groups across classes apart.
    """
    counts = labels.bincount().tolist()
    wanted = [min(max(1, round(share * n)), n - 1) for n in counts]
    if together is None:
        by_class = rank.argsort()
        by_class = by_class[labels[by_class].argsort(stable=True)]
        place = torch.cat([torch.arange(n) for n in counts])
        return torch.empty_like(rank).scatter_(0, by_class, place) < torch.tensor(wanted)[labels]
    group = together.unique(return_inverse=True)[1]
    # How many images a group has of which classes: plain, because there may be a group an image.
    inside: list[dict[int, int]] = [{} for _ in range(int(group.max()) + 1)]
    for g, k in zip(group.tolist(), labels.tolist(), strict=True):
        inside[g][k] = inside[g].get(k, 0) + 1
    first = torch.full((len(inside),), len(rank)).scatter_reduce_(0, group, rank, "amin")
    now, held = [0] * len(counts), [False] * len(inside)

    def better(g: int, c: int) -> bool:
        if abs(now[c] + inside[g][c] - wanted[c]) >= abs(now[c] - wanted[c]):
            return False
        return sum(abs(now[k] - wanted[k]) - abs(now[k] + n - wanted[k]) for k, n in inside[g].items()) > 0

    def needed(g: int, c: int) -> bool:
        if now[c] or not wanted[c]:
            return False
        there, asked = sum(now[k] for k in inside[g]), sum(wanted[k] for k in inside[g])
        over = there + sum(inside[g].values()) - asked
        return there == 0 or over <= max(OVER * asked, inside[g][c])

    for c in sorted(range(len(counts)), key=counts.__getitem__):
        own = group[labels == c].unique()
        tried = own[first[own].argsort()].tolist()
        # Nearest to the share; where every group is too large for it, the smallest one.
        for those, taken in ((tried, better), (sorted(tried, key=lambda g: sum(inside[g].values())), needed)):
            for g in those:
                # No class may lose its last training image, neither this one nor another with images in the group.
                fits = not held[g] and all(counts[k] - now[k] > n for k, n in inside[g].items())
                if fits and taken(g, c):
                    held[g] = True
                    for k, n in inside[g].items():
                        now[k] += n
    return torch.tensor(held)[group]
