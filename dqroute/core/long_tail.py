"""Class counts, imbalance profiles and shot groups: what "long-tailed" means in numbers.

The field draws long-tailed sets from balanced ones with an exponential profile, and reports accuracy for three groups
of classes: *many*, *medium* and *few*, named after the number of training images (the "shots").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dqroute.core.checks import checked_range, checked_whole, choose

GROUP_NAMES = ("many", "medium", "few")


def exponential_counts(n_max: int, num_classes: int, imbalance: float) -> Tensor:
    """Images per class under the field's profile: ``n_c = int(n_max * (1 / imbalance) ** (c / (C - 1)))``.

    Cui et al. (2019); the profile behind the published CIFAR-LT numbers, largest class first.

    ValueError if the smallest class would be left without an image.

    Args:
        n_max: images of the largest class, at least 1; num_classes: ``C``, at least 2.
        imbalance: the imbalance factor, largest over smallest class, at least 1.

    Returns:
        int64 ``[C]``, never increasing.
    """
    checked_range("imbalance", imbalance, 1)
    checked_whole("num_classes", num_classes, 2)
    checked_whole("n_max", n_max, 1)
    # Plain Python floats: int() of a float32 power rounds some counts differently from the published ones.
    counts = [int(n_max * (1 / imbalance) ** (c / (num_classes - 1))) for c in range(num_classes)]
    if counts[-1] < 1:
        raise ValueError(
            f"imbalance {imbalance:g} leaves the smallest class no image of {n_max}; use a smaller imbalance"
        )
    return torch.tensor(counts, dtype=torch.int64)


@dataclass(frozen=True)
class ShotGroups:
    """Which classes count as many-, medium- and few-shot, and by which rule.

    Attributes:
        many, medium, few: sorted class indices; together they hold every class once.
        rule: ``"shots"`` or ``"thirds"``, see :func:`shot_groups`, or ``"imbalance-<factor>"``, the groups by shots
            that the set would have at another imbalance.
    """

    many: tuple[int, ...]
    medium: tuple[int, ...]
    few: tuple[int, ...]
    rule: str

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return getattr(self, choose("shot group", name, GROUP_NAMES))

    @property
    def num_classes(self) -> int:
        """``C``."""
        return len(self.many) + len(self.medium) + len(self.few)

    @property
    def description(self) -> str:
        """One line for captions and tables."""
        sizes = " / ".join(f"{len(self[name])} {name}" for name in GROUP_NAMES)
        rules = {"shots": ">100 / 20-100 / <20 training images", "thirds": "thirds of the classes by count"}
        borrowed = f"the groups of imbalance {self.rule.removeprefix('imbalance-')}"
        return f"{sizes} classes ({rules.get(self.rule, borrowed)})"

    def of_class(self) -> Tensor:
        """int64 ``[C]``: 0, 1 or 2 for many, medium or few."""
        group = torch.empty(self.num_classes, dtype=torch.int64)
        for index, name in enumerate(GROUP_NAMES):
            group[list(self[name])] = index
        return group


def shot_groups(counts: Sequence[int] | Tensor, rule: str = "auto") -> ShotGroups:
    """Divide classes into many, medium and few.

    Args:
        counts: training images per class, ``[C]``.
        rule: ``"shots"``: more than 100 / 20 to 100 / fewer than 20 images. Two conventions circulate for the
            borders; this is the one of RIDE, SADE and BalPoE. ``"thirds"``: thirds of the classes by rank of count
            (ties by class index, larger thirds to the head). ``"auto"``: shots, unless that leaves a group empty
            (CIFAR-10-LT at any imbalance), then thirds. Another rule is a ValueError, as is fewer than 2 classes.
    """
    n = torch.as_tensor(counts, dtype=torch.int64)
    choose("rule for shot groups", rule, ("auto", "shots", "thirds"))
    if len(n) < 2:
        raise ValueError(f"there is nothing to recognise with fewer than 2 classes; got {len(n)}")
    if rule != "thirds":
        many, medium, few = (tuple(of.nonzero().flatten().tolist()) for of in (n > 100, (n >= 20) & (n <= 100), n < 20))
        if rule == "shots" or (many and medium and few):
            return ShotGroups(many, medium, few, "shots")
    by_rank = torch.argsort(n, descending=True, stable=True)
    thirds = torch.tensor_split(by_rank, 3) if len(n) > 2 else (by_rank[:1], by_rank[:0], by_rank[1:])
    head, middle, tail = (tuple(sorted(part.tolist())) for part in thirds)
    return ShotGroups(head, middle, tail, "thirds")


def nested_class_sets(groups: ShotGroups, counts: Sequence[int] | Tensor, experts: int) -> list[tuple[int, ...]]:
    """The class sets ``S_1 ⊃ S_2 ⊃ … ⊃ S_K`` of the nested experts.

    The paper's three: all classes, medium and few, few. One or two experts take the first of these; each beyond the
    third takes the rarer half of the set before it (our choice, to let the number of experts be an experiment).
    ValueError if ``experts`` is below 1 or so large that a set would be empty.
    """
    experts, n = checked_whole("experts", experts, 1), torch.as_tensor(counts)
    sets = [tuple(range(groups.num_classes)), tuple(sorted(groups.medium + groups.few)), groups.few]
    while len(sets) < experts:
        rarest_first = sorted(sets[-1], key=lambda c: (int(n[c]), -c))
        sets.append(tuple(sorted(rarest_first[: len(rarest_first) // 2])))
    for k, members in enumerate(sets[:experts], start=1):
        if not members:
            why = f"no class has {'medium or ' * (k == 2)}few images" if k < 4 else "halved, few-shot classes run out"
            raise ValueError(f"{why}: expert {k} of {experts} would have no class; take fewer, or groups='thirds'")
    return sets[:experts]
