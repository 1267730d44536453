"""Which images of a pool are held out for testing or validation, where nobody has said it: stratified, and by group."""

from __future__ import annotations

import torch
from torch import Tensor

from dqroute.data.draw import generator


def held_out(labels: Tensor, share: float, together: Tensor | None = None, seed: int = 0) -> Tensor:
    """Which images are held out, bool ``[N]``: a share of each class, as near as it goes.

    At least one image of a class that has two, and at least one stays. Images that belong ``together``, int64 ``[N]``,
    a burst or a patient having one number, are held out together or not at all; a class of which all lie together
    stays whole. ``seed`` decides which; what happens to one class never moves another, groups across classes apart.
    """
    counts = labels.bincount()
    alone = torch.zeros_like(labels, dtype=torch.bool)
    # Of each group how many images it has of which classes; how many of a class are held out, and which groups.
    group = labels if together is None else together.unique(return_inverse=True)[1]
    inside, now, held = classes_of(group, labels), [0] * len(counts), [False] * (int(group.max()) + 1)
    there = counts.tolist()
    for c in counts.argsort(stable=True).tolist():
        members = (labels == c).nonzero().flatten()
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        own = members if together is None else group[members].unique()
        order = own[torch.randperm(len(own), generator=generator("held out", seed, c))]
        if together is None:
            alone[order[:wanted]] = True
            continue
        # Nearest to the share; where every group is too large for it, the smallest one.
        tried = order.tolist()
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
