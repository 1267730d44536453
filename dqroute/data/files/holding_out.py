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
from dqroute.data.files.threads import each


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
    class of which all lie together stays whole. What happens to one class never moves another, groups across classes
    apart.
    """
    counts = labels.bincount()
    alone = torch.zeros_like(labels, dtype=torch.bool)
    # Of each group how many images it has of which classes; how many of a class are held out, and which groups.
    group = labels if together is None else together.unique(return_inverse=True)[1]
    inside, now, held = classes_of(group, labels), [0] * len(counts), [False] * (int(group.max()) + 1)
    first = torch.full((len(held),), len(rank)).scatter_reduce_(0, group, rank, "amin")
    there = counts.tolist()
    for c in counts.argsort(stable=True).tolist():
        members = (labels == c).nonzero().flatten()
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        if together is None:
            alone[members[rank[members].argsort()[:wanted]]] = True
            continue
        # Nearest to the share; where every group is too large for it, the smallest one.
        own = group[members].unique()
        tried = own[first[own].argsort()].tolist()
        for those, nearer in ((tried, True), (sorted(tried, key=lambda g: sum(n for _, n in inside[g])), False)):
            for g in those:
                taken = dict(inside[g])[c]
                # No class may lose its last training image, neither this one nor another with images in the group.
                fits = not held[g] and all(there[k] - now[k] > n for k, n in inside[g])
                if fits and (abs(now[c] + taken - wanted) < abs(now[c] - wanted) if nearer else now[c] == 0 < wanted):
                    held[g] = True
                    for k, n in inside[g]:
                        now[k] += n
    return alone if together is None else torch.tensor(held)[group]


def classes_of(group: Tensor, labels: Tensor) -> list[list[tuple[int, int]]]:
    """The classes that each group has images of, and how many: of int64 ``[N]`` each, groups numbered from 0."""
    inside: list[list[tuple[int, int]]] = [[] for _ in range(int(group.max()) + 1)]
    width = int(labels.max()) + 1
    pairs, number = (group * width + labels).unique(return_counts=True)
    for pair, n in zip(pairs.tolist(), number.tolist(), strict=True):
        inside[pair // width].append((pair % width, n))
    return inside
