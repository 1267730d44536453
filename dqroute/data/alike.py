"""Pictures that are nearly the same, as frames of a burst or a photograph saved twice are, told by their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.checks import checked_range, checked_whole, shown
from dqroute.data.feature_set import FEW, OWN, features, fitting
from dqroute.data.image_set import FeatureSplit, ImageSet

ROWS = 1024  # pictures that are compared with as many others at a time
ALIKE = 0.9  # what most frames of bursts reach with a sister, and few other photographs (benchmarks/small_folder.py)
LEFT = "they were loaded in groups, so that what is left may be a wrong label or group: dq.data.near_copies(data).table"


class NearCopies(NamedTuple):
    """What :func:`near_copies` found: print it for the size of the leak; its ``table`` has the names."""

    table: Any  # a DataFrame, a row a pair with its files, the most alike first
    leak: str  # how many test and validation pictures have a near copy among the training pictures, in words
    leaking: dict[str, int]  # how many, of each part after the training pictures

    def __repr__(self) -> str:
        return f"{self.leak}; the {len(self.table):,} pairs stand in .table"


def near_copies(data: ImageSet, least: float = ALIKE, most: int = 1000) -> NearCopies:
    """Pairs of pictures of a set, across its parts and classes and within, that its encoder sees as nearly the same.

    The similarity of two pictures is the cosine of their standardised features, -1 to 1. Memory does not grow with the
    number of pairs: pictures are compared some thousand at a time, and the ``most`` similar pairs are kept.

    Args:
        data: a set of features; of another one the bundled backbone's are computed, at the size that dq.fit takes.
        least: similarity from which two pictures are near copies; most: how many pairs the table has at most.

    Returns:
        A ``table`` of pairs, and a sentence, ``leak``, on how many pictures that are not trained on have a near copy in
        training. The table's columns are ``similarity``, then ``file`` (or ``image``, its number in its part, where no
        files are known), ``part`` and ``class`` of the one picture, and ``other file``, ``other part`` and ``other
        class``.

    Raises:
        ValueError: for a value out of range.
    """
    import pandas as pd  # here, because it takes its time to import

    if not isinstance(data, ImageSet):
        remedy = "pass the set itself, from dq.load, which a run has as run.data unless it was opened by its folder"
        raise ValueError(f"near copies are looked for in an image set; got {shown(data)}: {remedy}")
    checked_range("least", least, 0, 1)
    most = checked_whole("most", most, 1)
    splits = {part: split for part, split in data.splits.items() if isinstance(split, FeatureSplit)}
    if len(splits) < len(data.splits):
        return near_copies(features(data, fitting(data)), least, most)
    rows = F.normalize(torch.cat([split.features for split in splits.values()]), dim=1)
    learned = len(data.train)  # the training pictures come first
    leaking, found = torch.zeros(len(rows), dtype=torch.bool), (torch.empty(0), torch.empty(0, 2, dtype=torch.int64))
    for similar, pairs in pairs_of(rows, least):
        across = pairs[(pairs[:, 0] < learned) & (pairs[:, 1] >= learned)]
        leaking[across[:, 1]] = True
        similarity, numbers = torch.cat([found[0], similar]), torch.cat([found[1], pairs])
        best = similarity.argsort(descending=True, stable=True)[:most]
        found = similarity[best], numbers[best]
    names = [
        (name, part, data.class_names[label])
        for part, split in splits.items()
        for name, label in zip(split.names or range(len(split)), split.labels.tolist(), strict=True)
    ]
    files = all(split.names is not None for split in splits.values())
    what = "file" if files else "image"
    columns = ["similarity", what, "part", "class", f"other {what}", "other part", "other class"]
    both = zip(found[0].tolist(), found[1].tolist(), strict=True)
    table = pd.DataFrame([(round(s, 4), *names[i], *names[j]) for s, (i, j) in both], columns=columns)
    own = leaking.split([len(split) for split in splits.values()])
    counts = {part: int(of.sum()) for part, of in zip(splits, own, strict=True) if part != "train"}
    return NearCopies(table, leak_of(splits, counts, least), counts)


def own_leak(data: ImageSet | None) -> NearCopies | None:
    """What :func:`near_copies` finds in a small set of one's own, of features, worked out once; None of any other.

    Frames of a burst on both sides of a division are the commonest leak, and cost nothing to see.
    """
    if data is None or data.encoding is None or data.identity.get("name") not in OWN or len(data.train) > FEW:
        return None
    if "own_leak" not in (kept := vars(data)):
        kept["own_leak"] = near_copies(data)
    return kept["own_leak"]


def say_leak(data: ImageSet) -> None:
    """Print it, where held-out pictures have a near copy in training; see :func:`own_leak`."""
    if (copies := own_leak(data)) and any(copies.leaking.values()):
        hint = LEFT if grouped(data) else "if these are bursts, load with group_by="
        print(f"{data.name}: {copies.leak}; {hint}")


def grouped(data: ImageSet | None, identity: Mapping[str, Any] | None = None) -> bool:
    """Whether the pictures of a set, known or by its identity alone, were loaded in groups, beside copies of files."""
    known = identity or (data.identity if data is not None else {})
    alone = data is None or data.together is None or "copies" in known
    return "group_by" in known or known.get("dealt") == "by group" or not alone


def pairs_of(rows: Tensor, least: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Similarities ``[P]`` of rows ``[N, D]`` of length 1 and the pairs' numbers ``[P, 2]``, the smaller first."""
    for top in range(0, len(rows), ROWS):
        for left in range(top, len(rows), ROWS):
            similarity = rows[top : top + ROWS] @ rows[left : left + ROWS].T
            near = similarity >= least
            pairs = (near.triu(1) if top == left else near).nonzero()
            if len(pairs):
                yield similarity[pairs[:, 0], pairs[:, 1]], pairs + torch.tensor([top, left])


def leak_of(splits: dict[str, FeatureSplit], leaking: dict[str, int], least: float) -> str:
    """How many pictures of the parts after the first have a near copy in it."""
    if not leaking:
        return "all pictures are trained on, and none is left for a near copy to be a leak to"
    told = " and ".join(f"{n:,} of {len(splits[part]):,} {part} pictures" for part, n in leaking.items())
    verdict = "what is measured on them is partly memory" if any(leaking.values()) else "no leak that features show"
    have = "has" if [*leaking.values()] == [1] else "have"
    return f"{told} {have} a near copy (similarity {least:g} or more) among the training pictures: {verdict}"
