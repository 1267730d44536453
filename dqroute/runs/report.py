"""The report of one run on one split: every number, with the rule behind its groups."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Report:
    """How well a run does. Accuracies, errors and weights are shares, 0 to 1; None where there was no image.

    Attributes:
        split: ``"test"`` or ``"val"``; images: how many it has; groups: the rule behind its shot groups, in words.
        overall, many, medium, few: share of all images, and of those of each shot group, classified correctly.
        balanced: mean of the classes' accuracies; equals overall where every class has the same number of images.
        per_class: accuracy of each class, ``[C]``; per_expert: of each expert alone, ``[K]``.
        plain_mean: what the mean of the experts' logits, without routing, would reach, overall and by shot group.
        calibration: expected calibration error (15 equal bins), overall and by shot group.
        expert_weights: by shot group, the experts' mean weights, ``[K]``, for its images.
        detectors: for each expert that has outsiders: ``expert`` (from 1), ``classes`` (size of its class set),
            ``auroc``, ``fpr95`` (share of outsiders let in when 95 % of its own are).
    """

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

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """Rebuild a report; raises ValueError if fields are missing or unknown."""
        names = {field.name for field in fields(cls)}
        if set(value) != names:
            raise ValueError(f"not a report of this version; fields that differ: {sorted(set(value) ^ names)}")
        return cls(**value)

    def __str__(self) -> str:
        shares = {name: getattr(self, name) for name in ("overall", "many", "medium", "few")}
        said = ", ".join(f"{name} {'–' if share is None else f'{100 * share:.1f} %'}" for name, share in shares.items())
        return f"{self.split}, {self.images} images: {said}\ngroups: {self.groups}"
