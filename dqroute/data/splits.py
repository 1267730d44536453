"""Which images of a pool are trained on and which are held out: pure functions from labels to indices.

Every class is drawn with its own random generator, so what happens to one class never moves another. A class's
images are put in one random order by the seed; training takes from the front and validation from the back. A
larger profile with the same seed therefore contains the smaller one, and holding out a validation split only takes
training images away.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from dqroute.core.checks import checked_whole
from dqroute.core.long_tail import ShotGroups, exponential_counts, shot_groups

GROUP_RULES = ("auto", "shots", "thirds", "imbalance-100 (or another factor)")


@dataclass(frozen=True)
class LongTailedSplit:
    """A draw from a pool of labelled images.

    Attributes:
        train: int64 indices into the pool, increasing.
        val: the same for validation, or None when none was asked for; shares no index with ``train``.
        counts: int64 ``[C]``: training images per class had nothing been held out.
        order: int64 ``[C]``: the classes from head to tail.
    """

    train: Tensor
    val: Tensor | None
    counts: Tensor
    order: Tensor


def generator(*key: object) -> torch.Generator:
    """A CPU generator whose stream is decided by ``key`` (numbers and strings) alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def head_to_tail(pool_counts: Tensor, order: str | Sequence[int] | Tensor) -> Tensor:
    """The classes from the most to the least frequent.

    Args:
        pool_counts: int64 ``[C]``: images there are of each class.
        order: ``"label"`` (class 0 is the head, the field's protocol), ``"count"`` (the largest class is the head;
            ties by label), or a permutation of the classes.

    Returns:
        int64 ``[C]``, a permutation.

    Raises:
        ValueError: for an unknown order or one that is no permutation.
    """
    num_classes = len(pool_counts)
    if isinstance(order, str):
        if order == "label":
            return torch.arange(num_classes)
        if order == "count":
            return torch.argsort(pool_counts, descending=True, stable=True)
        raise ValueError(f"unknown class order {order!r}; the valid ones are label, count, or a list of all classes")
    permutation = torch.as_tensor(order, dtype=torch.int64)
    if permutation.ndim != 1 or not torch.equal(permutation.sort().values, torch.arange(num_classes)):
        raise ValueError(f"a class order must name each of the {num_classes} classes once, from head to tail")
    return permutation


def profile_counts(n_max: int, order: Tensor, imbalance: float) -> Tensor:
    """The exponential profile, dealt out to the classes in ``order``.

    Returns:
        int64 ``[C]``: entry c is the number of images of class c. The formula is that of
        :func:`dqroute.core.long_tail.exponential_counts`.
    """
    counts = torch.empty_like(order)
    counts[order] = exponential_counts(n_max, len(order), imbalance)
    return counts


def long_tailed_split(
    labels: Tensor,
    class_names: Sequence[str],
    *,
    imbalance: float | None,
    val: float | int | None = None,
    seed: int = 0,
    n_max: int | None = None,
    order: str | Sequence[int] | Tensor = "label",
) -> LongTailedSplit:
    """Draw a long-tailed training split, and a validation split beside it, from a pool of images.

    Args:
        labels: int64 ``[N]``, the pool's class indices.
        class_names: ``C`` names, for error messages.
        imbalance: largest over smallest class, at least 1; None keeps every image.
        val: a float between 0 and 1 holds out that fraction of each class's drawn training images (rounded, at
            least one, and at least one stays). A whole number takes that many images of every class from the pool
            before the profile is drawn, which is then drawn with ``n_max`` smaller by as much: a balanced
            validation set. None holds out nothing.
        seed: decides which images of a class are taken.
        n_max: images of the head class; the largest class of the pool unless given.
        order: see :func:`head_to_tail`. Without an imbalance and a permutation the classes rank by count.

    Raises:
        ValueError: if a class has too few images for the profile or the validation split, or an argument is out
            of range.
    """
    val = checked_val(val)
    pool_counts = torch.bincount(labels, minlength=len(class_names))
    if imbalance is None:
        if n_max is not None:
            raise ValueError("n_max shapes a profile and needs an imbalance; pass imbalance=1 for equal classes")
        ranks = head_to_tail(pool_counts, "count" if isinstance(order, str) else order)
        counts = pool_counts
    else:
        ranks = head_to_tail(pool_counts, order)
        n_max = int(pool_counts.max()) if n_max is None else checked_whole("n_max", n_max, 1)
        counts = profile_counts(n_max, ranks, imbalance)
        check_fits(counts, pool_counts, class_names, ranks, imbalance)

    per_class = val if isinstance(val, int) else 0
    kept, available = counts, pool_counts
    if per_class:
        available = pool_counts - per_class
        check_remaining(available, pool_counts, class_names, per_class)
        if imbalance is None:
            kept = available
        elif n_max is not None:
            if n_max <= per_class:
                raise ValueError(f"val={val} per class leaves none of n_max={n_max} for training; use a smaller val")
            kept = profile_counts(n_max - per_class, ranks, imbalance)
            check_fits(kept, available, class_names, ranks, imbalance, held_out=per_class)

    train, held = [], []
    by_class = torch.argsort(labels, stable=True).split(pool_counts.tolist())
    for c, members in enumerate(by_class):
        shuffled = members[torch.randperm(len(members), generator=generator("split", seed, c))]
        drawn = shuffled[: int(kept[c])]
        if per_class:
            held.append(shuffled[int(available[c]) :])
        elif val is not None:
            size = fraction_size(len(drawn), val, class_names[c])
            drawn, back = drawn[:-size], drawn[-size:]
            held.append(back)
        train.append(drawn)
    return LongTailedSplit(
        train=torch.cat(train).sort().values,
        val=torch.cat(held).sort().values if held else None,
        counts=counts,
        order=ranks,
    )


def class_groups(split: LongTailedSplit, rule: str = "auto") -> ShotGroups:
    """Shot groups of a draw, from its counts before validation images were held out.

    Args:
        split: the draw.
        rule: ``"auto"``, ``"shots"`` or ``"thirds"`` as in :func:`dqroute.core.long_tail.shot_groups`, or
            ``"imbalance-100"``: the groups by shots that imbalance 100 would have with the same head and the same
            order of classes. LIFT (Shi et al., 2024) reports imbalance 10 and 50 in this way, where "few" would
            otherwise be empty.

    Raises:
        ValueError: for an unknown rule.
    """
    reference = re.fullmatch(r"imbalance-(\d+(?:\.\d+)?)", rule) if isinstance(rule, str) else None
    if reference:
        counts = profile_counts(int(split.counts.max()), split.order, float(reference[1]))
        groups = shot_groups(counts, "shots")
        return ShotGroups(groups.many, groups.medium, groups.few, rule)
    if rule not in ("auto", "shots", "thirds"):
        raise ValueError(f"unknown rule for shot groups {rule!r}; the valid ones are {', '.join(GROUP_RULES)}")
    return shot_groups(split.counts, rule)


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


def check_fits(
    counts: Tensor, available: Tensor, class_names: Sequence[str], order: Tensor, imbalance: float, held_out: int = 0
) -> None:
    """Raise ValueError, with a remedy, if a class has fewer images than the profile asks for."""
    short = (counts > available).nonzero().flatten()
    if len(short) == 0:
        return
    worst = int(short[torch.argmax((counts - available)[short])])
    remedies = [f"n_max={n + held_out}"] if (n := largest_fit(available, order, imbalance)) else []
    if bool((counts.sort(descending=True).values <= available.sort(descending=True).values).all()):
        remedies.append('order="count"')
    if held_out:
        remedies.append("a smaller val")
    others = f" ({len(short) - 1} more classes are short too)" if len(short) > 1 else ""
    left = f" left after {held_out} were held out for validation" if held_out else ""
    raise ValueError(
        f"class {class_names[worst]!r} has {int(available[worst])} images{left}, and imbalance {imbalance:g} asks for "
        f"{int(counts[worst])}{others}; use {' or '.join(remedies) or 'a smaller imbalance'}"
    )


def largest_fit(available: Tensor, order: Tensor, imbalance: float) -> int | None:
    """The largest ``n_max`` whose profile the pool can fill, or None if there is none."""
    # Below this the profile itself is refused: its smallest class would have no image.
    lowest = math.floor(imbalance) + 1
    low, high = 0, int(available.max())
    while low < high:
        middle = (low + high + 1) // 2
        if middle < lowest or bool((profile_counts(middle, order, imbalance) <= available).all()):
            low = middle
        else:
            high = middle - 1
    return low if low >= lowest else None


def check_remaining(available: Tensor, pool_counts: Tensor, class_names: Sequence[str], val: int) -> None:
    """Raise ValueError if ``val`` images of every class leave a class without any for training."""
    smallest = int(available.argmin())
    if int(available[smallest]) < 1:
        there = int(pool_counts[smallest])
        remedy = f"use val={there - 1} or less, or a fraction" if there > 1 else "add images, or leave val out"
        raise ValueError(
            f"class {class_names[smallest]!r} has {there} image{'s' * (there != 1)}, and val={val} per class leaves "
            f"none for training; {remedy}"
        )


def fraction_size(drawn: int, fraction: float, class_name: str) -> int:
    """How many of a class's drawn images a fraction holds out: rounded, at least 1, fewer than all."""
    if drawn < 2:
        raise ValueError(
            f"class {class_name!r} has {drawn} training image, and val={fraction:g} needs one more; use a smaller "
            f"imbalance, or a whole number for val, which is taken from the pool before the profile"
        )
    return min(max(1, int(drawn * fraction + 0.5)), drawn - 1)
