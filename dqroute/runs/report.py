"""The report of one run on one split: every number, with the rule behind its groups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.files.reading import listed
from dqroute.data.markup import box, line, number_of, percent, table
from dqroute.measures.intervals import wilson

UNBALANCED = 1.5  # a split whose largest class has more than so many times the images of its smallest is called so


class Classes(NamedTuple):
    """The classes that a report speaks of: their names, training images of each, and the shot groups.

    And how many training images have a near copy among those that their judges learned from, of how many judged out of
    fold; None where nobody looked.
    """

    names: Sequence[str]
    counts: Sequence[int]
    groups: ShotGroups
    near: tuple[int, int] | None = None

    def range_of(self, name: str) -> str:
        """How many classes a shot group has, and of how many training images."""
        counts = [self.counts[c] for c in self.groups[name]]
        told = f", {min(counts):,} to {max(counts):,} training images each" if counts else ""
        return f"{number_of(len(counts))}{told}"


@dataclass(frozen=True)
class Report:
    """How well a run does. Accuracies, errors and weights are shares, 0 to 1; None where there was no image.

    Attributes:
        split: ``"test"``, ``"val"`` or ``"out-of-fold"``; images: how many it has; groups: the rule behind its shot
            groups, in words.
        overall, balanced, many, medium, few, worst, harmonic, macro_f1: see
            :func:`dqroute.measures.accuracy.accuracies`.
        imbalance: images of the largest class of the split over those of its smallest.
        memorised: accuracy on training images less that out of fold, where heads were judged so.
        per_class: accuracy of each class, ``[C]``; per_expert: of each expert alone, ``[K]``.
        plain_mean: the same measures of the mean of the experts' logits, without routing; calibrated: of that mean with
            one temperature and a shift for each shot group, fitted out of fold.
        calibration: expected calibration error (15 equal bins), overall and by shot group.
        expert_weights: by shot group, the experts' mean weights, ``[K]``, for its images.
        classes: those it speaks of, where it comes from a run; neither compared nor kept.
        pictures: images of each class of the split, ``[C]``; independent: as how many they count where groups of them
            stand or fall together (:func:`dqroute.measures.intervals.independent`), None where each stands alone.
        intervals: of 95 %, low and high, of ``"balanced"``, ``"overall"`` and the shot groups; :meth:`sure` has the
            classes'.
        learned: how many of the images the run was trained on, or the one that it went on from, by content; near: how
            many have a near copy among those that their judges learned from; None where nobody looked.
        detectors: for each expert that has outsiders: ``expert`` (from 1), ``classes`` (size of its class set),
            ``auroc``, ``fpr95`` (share of outsiders let in when 95 % of its own are).
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")
    split: str
    images: int
    overall: float
    balanced: float
    many: float | None
    medium: float | None
    few: float | None
    groups: str
    per_class: list[float | None]
    plain_mean: dict[str, float | None]
    per_expert: list[float]
    calibration: dict[str, float | None]
    expert_weights: dict[str, list[float] | None]
    detectors: list[dict[str, Any]]
    # What older reports do not tell.
    worst: float | None = None
    harmonic: float | None = None
    macro_f1: float | None = None
    imbalance: float | None = None
    calibrated: dict[str, float | None] | None = None
    memorised: float | None = None
    pictures: list[int] | None = None
    independent: list[float] | None = None
    intervals: dict[str, tuple[float, float]] | None = None
    learned: int | None = None
    near: int | None = None
    classes: Classes | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, without the classes, which the run's settings tell."""
        return {name: value for name, value in asdict(self).items() if name != "classes"}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """Rebuild a report; raises ValueError if fields are missing, unknown, or of another type."""
        try:
            return CHECK.validate_python(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            wrong = sorted({str(one["loc"][0]) for one in found if one["loc"]})
            raise ValueError(f"not a report of this version; wrong is {wrong}: {found[0]['msg'][:200]}") from None

    def said(self, name: str) -> str:
        """A measure in per cent, with its 95 % interval where there is one."""
        within = (self.intervals or {}).get(name)
        return percent(getattr(self, name)) + (f" ({between(*within)})" if within else "")

    def sure(self, c: int) -> str:
        """The accuracy of a class in per cent, its 95 % interval, and how many pictures, or groups, that rests on."""
        share, number = self.per_class[c], 0 if self.pictures is None else self.pictures[c]
        if share is None or not number:
            return percent(share)
        alone = number if self.independent is None else self.independent[c]
        low, high = wilson(torch.tensor(share), torch.tensor(alone))
        groups = (
            "" if self.independent is None or number == 1 else f" in about {alone:.0f} group{'s' * (round(alone) != 1)}"
        )
        return f"{percent(share)} ({between(low.item(), high.item())}; {number:,} image{'s' * (number != 1)}{groups})"

    def worst_classes(self, most: int) -> str:
        """The classes that do worst, in words."""
        worst = sorted((share, c) for c, share in enumerate(self.per_class) if share is not None)[:most]
        return "worst: " + ", ".join(f"{self.names[c]} {self.sure(c)}" for _, c in worst)

    @property
    def names(self) -> Sequence[str]:
        """What the classes are called."""
        return self.classes.names if self.classes else [f"class {c}" for c in range(len(self.per_class))]

    def cautions(self) -> list[str]:
        """What the numbers are not of, and what flatters them: a sentence each."""
        none, said = [name for name, share in zip(self.names, self.per_class, strict=True) if share is None], []
        if none:
            judged = f"{len(self.names) - len(none):,} of {len(self.names):,} classes"
            said.append(f"no picture of {listed(none)} was judged; all means are over {judged}")
        return said + self.memory()

    def memory(self) -> list[str]:
        """What of the accuracies is memory, a sentence each."""
        said, of = [], f"of the {self.images:,} images"
        if self.learned:
            were = "was" if self.learned == 1 else "were"
            said.append(f"{self.learned:,} {of} {were} trained on, in this run or one before it: memory")
        if self.near:
            said.append(copied(self.near, self.images))
        return said

    @property
    def but(self) -> str:
        """What flatters the accuracy out of fold that ``memorised`` is told by; ``""`` where nothing is known to."""
        near = self.classes.near if self.classes else None
        return f", where {copied(*near)}" if near and near[0] else ""

    def _repr_html_(self) -> str:
        """For notebooks: the measures, and the classes that do worst."""
        rows = [("mean of the classes", self.said("balanced"), "each counting alike, however many images it has")]
        rows += [("overall", self.said("overall"), f"of {self.images:,} images")]
        for name in GROUP_NAMES:
            of = self.classes.range_of(name) if self.classes else ""
            rows.append((name, self.said(name), of))
        held = sum(share is not None for share in self.per_class)
        rows += [
            ("worst fifth", percent(self.worst), f"mean of the worst {number_of(max(1, held // 5))}"),
            ("harmonic", percent(self.harmonic), "mean over the classes"),
            ("calibration", percent(self.calibration.get("overall")), "expected error of the probabilities"),
        ]
        if self.memorised is not None:
            rows.append(
                ("memorised", percent(self.memorised), "right on training images beyond out of fold" + self.but)
            )
        return box(f"accuracy, {self.split}", table(rows), *map(line, self.remarks(5)))

    def remarks(self, worst: int) -> list[str]:
        """What stands below the numbers: what flatters them, what intervals are, the groups, so many worst classes."""
        kind = "images" if self.independent is None else "groups of images that belong together (copies, or group_by)"
        brackets = f"in brackets: 95 % intervals over {kind}"
        if self.intervals is None:
            brackets = "no intervals, since this report is of an older version: put its file aside, and evaluate again"
        return [*self.cautions(), brackets, f"shot groups: {self.groups}", self.worst_classes(worst)]

    def __repr__(self) -> str:
        told = f"mean of the classes {self.said('balanced')}, overall {self.said('overall')}"
        return f"<Report: {self.split}, {self.images:,} images, {told}>"

    def __str__(self) -> str:
        unbalanced = self.imbalance is not None and self.imbalance > UNBALANCED
        # Where all classes have as many images it is the same as overall.
        names = ["balanced"] * (self.imbalance not in (None, 1)) + ["overall", "many", "medium", "few"]
        called = {"worst": "worst fifth of the classes", "balanced": "mean of the classes"}
        said = ", ".join(f"{called.get(n, n)} {self.said(n)}" for n in names + ["worst"] * (self.worst is not None))
        set_is = f", unbalanced (its largest class has {self.imbalance:.0f} times its smallest)" if unbalanced else ""
        lines = [f"{self.split}, {self.images} images{set_is}: {said}", *self.remarks(3)]
        if self.memorised is not None:
            lines.append(
                f"memorised: {100 * self.memorised:.0f} points more are right on training images than out of fold"
                + self.but
            )
        return "\n".join(line for told in lines for line in wrapped(told))


def copied(near: int, images: int) -> str:
    """How many images have a near copy among those that their judges learned from, in words."""
    have = "has" if near == 1 else "have"
    return f"{near:,} of the {images:,} images {have} a near copy among those learned from: partly memory"


def wrapped(told: str, width: int = 80) -> list[str]:
    """A line of a report as such as are not cut on a page, broken after commas and the like."""
    joined = re.sub("(?<![,;:]) ", "\0", told)
    lines = wrap(joined, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return [each.replace("\0", " ") for each in lines]


def between(low: float, high: float) -> str:
    """An interval of shares, in per cent."""
    return f"{100 * low:.0f} to {100 * high:.0f}"


CHECK = TypeAdapter(Report)
