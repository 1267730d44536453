"""A prediction beside the labels: accuracy by shot group and class, calibration, and how well detectors tell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.measures.accuracy import accuracies, calibration_error, mean
from dqroute.measures.groups import described
from dqroute.measures.intervals import alike, independent, wilson
from dqroute.methods.prediction import Prediction
from dqroute.runs.report import Report


def score(
    prediction: Prediction,
    labels: Tensor,
    groups: ShotGroups,
    class_sets: Tensor,
    name: str,
    counts: Tensor | None = None,
    together: Tensor | None = None,
) -> Report:
    """Compare the prediction for a split with its labels ``[N]``; class_sets: bool ``[K, C]``; name: of the split.

    With ``counts``, training images ``[C]``, the groups' description tells their ranges; ``together`` ``[N]`` are the
    groups whose images stand or fall together, as the frames of a burst do.
    """
    if together is not None and len(together.unique()) == len(together):
        together = None  # whoever has copies has them elsewhere
    p, number = prediction.probabilities, prediction.probabilities.shape[1]
    group, images = groups.of_class()[labels], labels.bincount(minlength=number)
    hits = labels[prediction.label == labels].bincount(minlength=number)
    inside = {"overall": torch.ones_like(labels, dtype=torch.bool)}
    inside |= {shot: group == index for index, shot in enumerate(GROUP_NAMES)}
    found, each = accuracies(prediction.label, labels, groups), independent(labels, number, together)
    sure = {"balanced": alike(each)}
    for of, own in inside.items():
        if own.any():
            sure[of] = independent(labels[own] * 0, 1, None if together is None else together[own])[0]
    ends = {of: wilson(torch.tensor(found[of]), counted) for of, counted in sure.items()}
    return Report(
        split=name,
        images=len(labels),
        **found,
        groups=groups.description if counts is None else described(groups, counts),
        per_class=[hit / n if n else None for hit, n in zip(hits.tolist(), images.tolist(), strict=True)],
        plain_mean=accuracies(prediction.mean_label, labels, groups),
        per_expert=mean(prediction.expert_labels == labels[:, None]),
        calibration={shot: calibration_error(p[those], labels[those]) for shot, those in inside.items()},
        expert_weights={shot: mean(prediction.expert_weights[inside[shot]]) for shot in GROUP_NAMES},
        detectors=detector_quality(prediction.confidence, class_sets, labels),
        imbalance=(images[images > 0].max() / images[images > 0].min()).item(),
        calibrated=accuracies(prediction.calibrated_label, labels, groups),
        pictures=images.tolist(),
        independent=None if together is None else each.tolist(),
        intervals={of: (low.item(), high.item()) for of, (low, high) in ends.items()},
    )


def detector_quality(confidence: Tensor, class_sets: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """AUROC and FPR95 of each detector that has its own images and outsiders; ``[N, K]``, bool ``[K, C]``, ``[N]``."""
    # Here, because it takes a second to import, and most of a session does without.
    from sklearn.metrics import roc_auc_score, roc_curve

    quality: list[dict[str, Any]] = []
    for k, members in enumerate(class_sets):
        own, scores = members[labels].numpy(), confidence[:, k].double().numpy()
        if own.any() and not own.all():
            let_in, kept, _ = roc_curve(own, scores, drop_intermediate=False)
            rates = {"auroc": float(roc_auc_score(own, scores)), "fpr95": float(let_in[(kept >= 0.95).argmax()])}
            quality.append({"expert": k + 1, "classes": int(members.sum())} | rates)
    return quality
