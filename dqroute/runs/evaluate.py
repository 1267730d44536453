"""Evaluation: accuracy by shot group and class, calibration, where images are routed, how good the detectors are."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.disk import keep_json
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.methods.prediction import Prediction
from dqroute.models.device import resolve_device
from dqroute.runs.report import Report
from dqroute.runs.run import Run
from dqroute.training.distribution import is_main


def evaluate(run: Run, data: ImageSet | None = None, *, split: str = "test", device: str = "auto") -> Report:
    """Evaluate a finished run; a report already in its folder is returned as it is.

    Args:
        run: from :func:`dqroute.fit`, or opened by its folder.
        data: the image set; by default the one the run was trained on in this process.
        split: ``"test"``, or ``"val"`` for choices. The test set chooses nothing.
        device: where to compute.

    Raises:
        ValueError: if the data are not those of the run, or have no such split.
    """
    choose("split", split, ("test", "val"))
    check_data(run, data)
    known = run.report(split)
    if known is not None:
        return known
    data = data_of(run, data, split)
    model = run.model.to(resolve_device(device))
    prediction = model.predict(data.splits[split])
    report = score(prediction, data.splits[split], data.groups, model.class_sets().cpu(), split)
    if is_main():
        keep_json(run.folder / f"report-{split}.json", report.to_json())
    return report


def check_data(run: Run, data: ImageSet | None) -> None:
    """Raise ValueError if these, or those that the run has at hand, are not the data of the run."""
    data = data or run.data
    if data is None:
        return
    if data.identity != run.settings["data"]:
        raise ValueError(f"{data.name} as loaded is not the data of {run.folder}: {differences(data, run)}")
    run.warn_of_other_images(data)


def data_of(run: Run, data: ImageSet | None, split: str) -> ImageSet:
    """The image set to evaluate a run on: the one given, or the one it was trained on in this process.

    Raises:
        ValueError: if there is none, if it is not that of the run, or if it has no such split.
    """
    data = data or run.data
    if data is None:
        raise ValueError(f"{run!r} was opened from its folder; pass the image set too, as in dq.evaluate(run, data)")
    check_data(run, data)
    if split not in data.splits:
        raise ValueError(f"{data.name} was loaded without a validation split; load it with val=0.2, say")
    return data


def differences(data: ImageSet, run: Run) -> str:
    """Which parts of the identity differ, for a message."""
    wanted: dict[str, Any] = run.settings["data"]
    keys = sorted(k for k in wanted.keys() | data.identity.keys() if wanted.get(k) != data.identity.get(k))
    return ", ".join(f"{k} is {data.identity.get(k)!r}, was {wanted.get(k)!r}" for k in keys)


def score(prediction: Prediction, split: AnySplit, groups: ShotGroups, class_sets: Tensor, name: str) -> Report:
    """Compare a prediction with the labels.

    Args:
        prediction: for the images of the split; split: the images and labels.
        groups: shot groups; class_sets: bool ``[K, C]``; name: of the split, for the report.
    """
    labels = split.labels
    num_classes = prediction.probabilities.shape[1]
    right = prediction.label == labels
    images = torch.bincount(labels, minlength=num_classes)
    per_class = [
        (hits / n if n else None)
        for hits, n in zip(torch.bincount(labels[right], minlength=num_classes).tolist(), images.tolist(), strict=True)
    ]
    present = [accuracy for accuracy in per_class if accuracy is not None]
    group_of_image = groups.of_class()[labels]
    inside = {group: group_of_image == index for index, group in enumerate(GROUP_NAMES)}
    accuracy = {group: mean(right.float()[mask]) for group, mask in inside.items()}
    everything = torch.ones_like(right)
    return Report(
        split=name,
        images=len(labels),
        overall=right.float().mean().item(),
        balanced=sum(present) / len(present),
        many=accuracy["many"],
        medium=accuracy["medium"],
        few=accuracy["few"],
        groups=groups.description,
        per_class=per_class,
        plain_mean={
            group: mean((prediction.mean_label == labels).float()[mask])
            for group, mask in ({"overall": everything} | inside).items()
        },
        per_expert=(prediction.expert_labels == labels[:, None]).float().mean(dim=0).tolist(),
        calibration={
            group: calibration_error(prediction.probabilities[mask], labels[mask])
            for group, mask in ({"overall": everything} | inside).items()
        },
        expert_weights={
            group: prediction.expert_weights[mask].mean(dim=0).tolist() if mask.any() else None
            for group, mask in inside.items()
        },
        detectors=detector_quality(prediction.confidence, class_sets, labels),
    )


def mean(values: Tensor) -> float | None:
    """The mean, or None of nothing."""
    return values.mean().item() if len(values) else None


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float | None:
    """Expected calibration error ``Σ_m (n_m / N) |accuracy_m - confidence_m|`` over bins m (Guo et al., 2017).

    Args:
        probabilities: ``[N, C]``; labels: ``[N]``; bins: equal widths between 0 and 1.
    """
    # Here, because torchmetrics takes a second to import and most of a session never calibrates.
    from torchmetrics.functional.classification import multiclass_calibration_error

    if not len(labels):
        return None
    return multiclass_calibration_error(probabilities, labels, probabilities.shape[1], bins, "l1").item()


def detector_quality(confidence: Tensor, class_sets: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """AUROC and FPR95 of each detector that has both its own images and outsiders.

    Args:
        confidence: ``[N, K]``; class_sets: bool ``[K, C]``; labels: ``[N]``.
    """
    quality: list[dict[str, Any]] = []
    for k, members in enumerate(class_sets):
        own, scores = members[labels], confidence[:, k]
        if own.all() or not own.any():
            continue
        found = separation(scores[own], scores[~own])
        quality.append({"expert": k + 1, "classes": int(members.sum())} | found)
    return quality


def separation(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """AUROC and FPR95 of scores ``[N]`` of images against scores ``[M]`` of outsiders."""
    own = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))]).numpy()
    values = torch.cat([inside, outside]).double().numpy()
    let_in, kept, _ = roc_curve(own, values, drop_intermediate=False)
    return {"auroc": float(roc_auc_score(own, values)), "fpr95": float(let_in[(kept >= 0.95).argmax()])}
