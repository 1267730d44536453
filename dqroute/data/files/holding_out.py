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
    number = int(labels.max()) + 1
    for c in labels.bincount(minlength=number).argsort(stable=True).tolist():
        members = (labels == c).nonzero().flatten()
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        own = members if together is None else together[members].unique()
        order = own[torch.randperm(len(own), generator=generator("held out", seed, c))].tolist()
        for one in order:
            if int(held[members].sum()) >= wanted:
                break
            those = torch.tensor([one]) if together is None else (together == one).nonzero().flatten()
            after = held.clone()
            after[those] = True
            # No class may lose its last training image, neither this one nor another with images in the same group.
            if all(bool((~after[labels == k]).any()) for k in labels[those].unique().tolist()):
                held = after
    return held
