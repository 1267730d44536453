"""Shot groups beside the counts that they were made of: what each holds, and what it then says little of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups

LEVEL = 2  # where the largest class has at most so many times the images of the smallest, there is no tail to speak of
MIXED = 20  # a group whose largest class has more than so many times its smallest says little of either


def ranges(groups: ShotGroups, counts: Sequence[int] | Tensor) -> dict[str, tuple[int, int]]:
    """Fewest and most training images of a class in each group that has classes, of ``counts`` ``[C]``."""
    n = torch.as_tensor(counts)
    of_group = {name: n[[*groups[name]]] for name in GROUP_NAMES if groups[name]}
    return {name: (int(of.min()), int(of.max())) for name, of in of_group.items()}


def described(groups: ShotGroups, counts: Sequence[int] | Tensor) -> str:
    """The groups' description, and how many training images the classes of each have: ``counts`` ``[C]``.

    And where all classes have about as many, up to ``LEVEL`` times, that the groups tell nothing.
    """
    spans = {name: f"{a:,}" if a == b else f"{a:,} to {b:,}" for name, (a, b) in ranges(groups, counts).items()}
    told = ", ".join(f"{name} {span}" for name, span in spans.items())
    n = torch.as_tensor(counts)
    level = len(spans) > 1 and n.max() <= LEVEL * n.min()
    little = "; no class has many more than another: the groups tell nothing" if level else ""
    return f"{groups.description}; training images a class: {told}{little}"


def mixed(groups: ShotGroups, counts: Sequence[int] | Tensor) -> str | None:
    """A sentence on groups whose largest class has more than ``MIXED`` times its smallest; None without any."""
    wide = {name: span for name, span in ranges(groups, counts).items() if span[1] > MIXED * span[0]}
    if not wide:
        return None
    told = " and ".join(f"{name} of {a:,} to {b:,}" for name, (a, b) in wide.items())
    way = "" if groups.rule == "shots" else "; groups='shots' goes by the number of images"
    return f"groups mix classes of very many and very few training images, {told}: read the report by class{way}"
