"""What a user asks of a long-tailed draw, in one piece: every set that is drawn from a pool takes it alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dqroute.core.long_tail import ShotGroups
from dqroute.data.splits import LongTailedSplit, class_groups, long_tailed_split


@dataclass(frozen=True)
class Draw:
    """The arguments of :func:`dqroute.load` that decide which images of a pool are trained on.

    Attributes:
        imbalance, seed, val, n_max, order: see :func:`dqroute.data.splits.long_tailed_split`.
        groups: see :func:`dqroute.data.splits.class_groups`.
    """

    imbalance: float | None
    seed: int
    groups: str
    val: float | int | None
    n_max: int | None = None
    order: str | Sequence[int] = "label"

    def __post_init__(self) -> None:
        if not isinstance(self.order, str):
            # As JSON gives it back, so that a tuple and an array ask for the same set.
            object.__setattr__(self, "order", torch.as_tensor(self.order).tolist())

    def split(self, labels: Tensor, class_names: Sequence[str]) -> LongTailedSplit:
        """The draw from a pool with these labels, int64 ``[N]``; ValueError if the pool has too few images."""
        return long_tailed_split(
            labels,
            class_names,
            imbalance=self.imbalance,
            val=self.val,
            seed=self.seed,
            n_max=self.n_max,
            order=self.order,
        )

    def groups_of(self, split: LongTailedSplit) -> ShotGroups:
        """Which classes of a draw are many-, medium- and few-shot."""
        return class_groups(split, self.groups)

    @property
    def identity(self) -> dict[str, Any]:
        """What it adds to the identity of a set."""
        return asdict(self)
