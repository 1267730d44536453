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
    held = torch.zeros_like(labels, dtype=torch.bool)
    left = labels.bincount()
    for c in left.argsort(stable=True).tolist():
        members = (labels == c).nonzero().flatten()
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        if together is None:
            order = torch.randperm(len(members), generator=generator("held out", seed, c))
            held[members[order[:wanted]]] = True
            continue
        own = together[members].unique()
        groups = [
            (together == own[k]).nonzero().flatten()
            for k in torch.randperm(len(own), generator=generator("held out", seed, c)).tolist()
        ]
        # Nearest to the share; where every group is too large for it, the smallest one.
        for tried, nearer in ((groups, True), (sorted(groups, key=len), False)):
            for those in tried:
                now, taken = int(held[members].sum()), int((labels[those] == c).sum())
                taken_here = labels[those].bincount(minlength=len(left))
                # No class may lose its last training image, neither this one nor another with images in the group.
                fits = bool((left - taken_here >= (taken_here > 0).long()).all()) and not bool(held[those].any())
                if fits and (abs(now + taken - wanted) < abs(now - wanted) if nearer else now == 0 < wanted):
                    held[those], left = True, left - taken_here
    return held
