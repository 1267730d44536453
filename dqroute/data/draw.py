"""What is asked of a long-tailed draw, and the draw: which images of a pool are trained on and which are held out.

Every class is drawn with its own random generator, so what happens to one class never moves another. A class's
images are put in one random order by the seed; training takes from the front and validation from the back. A larger
profile with the same seed therefore contains the smaller one, and validation only takes training images away.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqroute.core.checks import checked_whole, shown
from dqroute.core.long_tail import ShotGroups, exponential_counts, shot_groups


def generator(*key: object) -> torch.Generator:
    """A CPU generator whose stream is decided by ``key`` (numbers and strings) alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class LongTailedSplit(NamedTuple):
    """A draw from a pool of labelled images.

    Attributes:
        train, val: int64 indices into the pool, increasing, none in both; ``val`` is None when none was asked for.
        counts: int64 ``[C]``: training images per class had nothing been held out.
        order: int64 ``[C]``: the classes from head to tail.
    """

    train: Tensor
    val: Tensor | None
    counts: Tensor
    order: Tensor


@dataclass(frozen=True)
class Draw:
    """The arguments of :func:`dqroute.load` that decide which images of a pool are trained on.

    Attributes:
        imbalance: largest over smallest class, at least 1; None keeps every image.
        seed: decides which images of a class are taken.
        groups: ``"auto"``, ``"shots"`` or ``"thirds"`` as in :func:`dqroute.core.long_tail.shot_groups`, or
            ``"imbalance-100"``: the groups by shots that imbalance 100 would have with the same head and order. LIFT
            (Shi et al., 2024) reports imbalance 10 and 50 so, where "few" would otherwise be empty.
        val: a float between 0 and 1 holds out that fraction of each class's drawn images (rounded, at least one, and
            at least one stays; of a class of one image none). A whole number takes that many images of every class
            from the pool before the profile is drawn, with ``n_max`` smaller by as much: a balanced validation set.
        n_max: images of the head class; the largest class of the pool unless given.
        order: from head to tail: ``"label"`` (class 0 is the head, the field's protocol), ``"count"`` (the largest
            class is the head; ties by label), or a list of all classes. Of whole pools only a list counts.
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
            try:
                order = torch.as_tensor(self.order).tolist()
            except (TypeError, ValueError, RuntimeError):
                told = "order is 'label', 'count', or a list of the numbers of all classes, from head to tail"
                raise ValueError(f"{told}; got {shown(self.order)}") from None
            object.__setattr__(self, "order", order)

    @property
    def identity(self) -> dict[str, Any]:
        """What it adds to the identity of a set."""
        return asdict(self)

    def split(self, labels: Tensor, class_names: Sequence[str]) -> LongTailedSplit:
        """The draw from a pool whose images have these ``labels``, int64 ``[N]``.

        ValueError if a class has too few images for the profile or the validation split, or a value is out of range.
        """
        val = checked_val(self.val)
        per_class = val if isinstance(val, int) else 0
        pool = torch.bincount(labels, minlength=len(class_names))
        available = pool - per_class
        smallest = int(pool.argmin())
        if (there := int(pool[smallest])) <= per_class and per_class:
            remedy = f"use val={there - 1} or less, or a fraction" if there > 1 else "add images, or leave val out"
            raise ValueError(
                f"class {class_names[smallest]!r} has {there} image{'s' * (there != 1)}, and val={val} per class "
                f"leaves none for training; {remedy}"
            )
        if self.imbalance is None:
            if self.n_max is not None:
                raise ValueError("n_max shapes a profile and needs an imbalance; pass imbalance=1 for equal classes")
            order = head_to_tail(pool, "count" if isinstance(self.order, str) else self.order)
            counts, kept = pool, available
        else:
            order = head_to_tail(pool, self.order)
            n_max = int(pool.max()) if self.n_max is None else checked_whole("n_max", self.n_max, 1)
            if n_max <= per_class:
                raise ValueError(f"val={val} per class leaves none of n_max={n_max} for training; use a smaller val")
            counts, kept = (
                fitting_profile(n_max - held, pool - held, class_names, order, self.imbalance, held)
                for held in (0, per_class)
            )
        train, held_out = [], []
        for c, members in enumerate(torch.argsort(labels, stable=True).split(pool.tolist())):
            shuffled = members[torch.randperm(len(members), generator=generator("split", self.seed, c))]
            drawn, back = shuffled[: int(kept[c])], shuffled[int(available[c]) :]
            if isinstance(val, float):
                # A class of one image keeps it, and has nothing to be validated by.
                size = min(max(1, int(len(drawn) * val + 0.5)), len(drawn) - 1)
                drawn, back = drawn[: len(drawn) - size], drawn[len(drawn) - size :]
            train.append(drawn)
            held_out.append(back)
        val_indices = None if val is None else torch.cat(held_out).sort().values
        return LongTailedSplit(torch.cat(train).sort().values, val_indices, counts, order)

    def groups_of(self, split: LongTailedSplit) -> ShotGroups:
        """Shot groups of a draw, by its counts before validation images were held out; ValueError for unknown rules."""
        rule = self.groups if isinstance(self.groups, str) else ""
        if reference := re.fullmatch(r"imbalance-(\d+(?:\.\d+)?)", rule):
            counts = profile_counts(int(split.counts.max()), split.order, float(reference[1]))
            return replace(shot_groups(counts, "shots"), rule=rule)
        if rule not in ("auto", "shots", "thirds"):
            raise ValueError(
                f"unknown rule for shot groups {self.groups!r}; the valid ones are auto, shots, thirds, imbalance-100 "
                "(or another factor)"
            )
        return shot_groups(split.counts, rule)


def head_to_tail(pool: Tensor, order: str | Sequence[int]) -> Tensor:
    """The classes, int64 ``[C]``, by the images there are of each; ValueError unless ``order`` is one of a draw's."""
    if isinstance(order, str):
        if order == "label":
            return torch.arange(len(pool))
        if order == "count":
            return torch.argsort(pool, descending=True, stable=True)
        raise ValueError(f"unknown class order {order!r}; the valid ones are label, count, or a list of all classes")
    permutation = torch.as_tensor(order, dtype=torch.int64)
    if permutation.ndim != 1 or not torch.equal(permutation.sort().values, torch.arange(len(pool))):
        raise ValueError(f"a class order must name each of the {len(pool)} classes once, from head to tail")
    return permutation


def profile_counts(n_max: int, order: Tensor, imbalance: float) -> Tensor:
    """The profile of :func:`dqroute.core.long_tail.exponential_counts`, dealt out to the classes in ``order``."""
    counts = torch.empty_like(order)
    counts[order] = exponential_counts(n_max, len(order), imbalance)
    return counts


def fitting_profile(
    n_max: int, available: Tensor, class_names: Sequence[str], order: Tensor, imbalance: float, held_out: int
) -> Tensor:
    """:func:`profile_counts`; ValueError with a remedy if a class has fewer images ``available`` than it asks for."""
    counts = profile_counts(n_max, order, imbalance)
    short = counts > available
    if not short.any():
        return counts
    worst = int((counts - available).argmax())
    # The largest head whose profile fits; below the lowest one the smallest class would have no image.
    heads = range(math.floor(imbalance) + 1, int(available.max()) + 1)
    fits = bisect_left(heads, True, key=lambda n: bool((profile_counts(n, order, imbalance) > available).any()))
    remedies = [f"n_max={heads[fits - 1] + held_out}"] if fits else []
    if (counts.sort().values <= available.sort().values).all():
        remedies.append('order="count"')
    if held_out:
        remedies.append("a smaller val")
    left = f" left after {held_out} were held out for validation" if held_out else ""
    others = f" ({int(short.sum()) - 1} more classes are short too)" if short.sum() > 1 else ""
    raise ValueError(
        f"class {class_names[worst]!r} has {int(available[worst])} images{left}, and imbalance {imbalance:g} asks for "
        f"{int(counts[worst])}{others}; use {' or '.join(remedies) or 'a smaller imbalance'}"
    )


def checked_val(val: object) -> float | int | None:
    """``val`` as a plain number; ValueError unless it is None, a fraction between 0 and 1, or a whole number from 1."""
    if val is None:
        return None
    if isinstance(val, Integral) and not isinstance(val, bool) and int(val) >= 1:
        return int(val)
    if isinstance(val, Real) and not isinstance(val, Integral) and 0 < float(val) < 1:
        return float(val)
    raise ValueError(
        f"val is a fraction between 0 and 1 of each class's training images, or a whole number of images per class "
        f"from 1; got {val!r}"
    )
