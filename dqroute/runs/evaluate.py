"""Evaluation: accuracy by shot group and class, calibration, routing, detectors, and what few-shot accuracy costs."""

from __future__ import annotations

import os
from math import isnan, nan
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import choose, shown
from dqroute.core.curves import Point, trade_off
from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.checking import check_files
from dqroute.data.feature_set import features
from dqroute.data.image_set import AnySplit, Encoding, ImageSet
from dqroute.methods.base import Method
from dqroute.methods.prediction import Prediction
from dqroute.models.device import resolve_device
from dqroute.runs.card import write_card
from dqroute.runs.judged import out_of_fold
from dqroute.runs.others import other_pictures
from dqroute.runs.report import Report
from dqroute.runs.run import OUT_OF_FOLD, REPORT, SPLITS, TRADE_OFF, Run, opened


def evaluate(
    run: Run | str | os.PathLike[str],
    data: ImageSet | None = None,
    *,
    split: str = "test",
    device: str = "auto",
    other: bool = False,
) -> Report:
    """Evaluate a finished run on ``"test"``, or ``"val"`` for choices; a report that it has already is returned.

    ``"out-of-fold"`` is of the training images, each as those heads have it that never saw it, and calibration and
    fusion fitted without it; a run without test images is evaluated so. On photographs (five seeds) the mean of the
    classes is then 1.0 point below that on test images, those who judge having trained on four fifths; the worst fifth,
    of classes with five images, is 8 points below, much of it chance.

    Args:
        run: from :func:`dqroute.fit`, or its folder; device: where to compute.
        data: the image set; by default the one the run was trained on in this process.
        other: whether ``data`` are other labelled pictures, on purpose. Their classes are matched by name, some may be
            missing, and ``split="all"`` takes all pictures of the set. Such a report is not kept in the run's folder.

    Raises:
        ValueError: if the set is not that of the run, or without such a split; if a file of it cannot be read, which is
            named, and costs the run nothing; with ``other`` if it has a class that the run does not know.
    """
    run = opened(run)
    if other:
        if not isinstance(data, ImageSet):
            raise ValueError("other labelled pictures are a set from dq.load: dq.evaluate(run, data, other=True)")
        images = other_pictures(run, data, split)
        return report_of(run, predicted(run.model.to(resolve_device(device)), images), images.labels, split)
    data = checked_data(run, data, split)
    if split != (split := run.split_for(split)):
        print(f"{run.folder.parent.name} has no test images: this is out of fold, of training images")
    if (known := run.report(split)) is not None:
        return known
    if split == OUT_OF_FOLD:
        prediction, labels = out_of_fold(run, data)
    else:
        model, images, _ = at_work(run, data, split, device)
        prediction, labels = predicted(model, images), images.labels
    report = report_of(run, prediction, labels, split)
    run.keep(REPORT.format(split=split), report.to_json())
    write_card(run)
    return report


def predicted(model: Method, images: AnySplit) -> Prediction:
    """What a model says of images, for balanced classes."""
    with model.unadapted():
        return model.predict(images)


def report_of(run: Run, prediction: Prediction, labels: Tensor, split: str) -> Report:
    """The report of a run on images of which it said this."""
    known, honest = (run.provenance.get(f"{of}_accuracy") for of in ("training", "out_of_fold"))
    memorised, model = None if honest is None else known - honest, run.model
    report = score(prediction, labels, run.groups, model.class_sets().cpu(), split, memorised, model.counts.cpu())
    return run.named(report)


def trade_off_of(
    run: Run | str | os.PathLike[str],
    data: ImageSet | None = None,
    *,
    split: str = "test",
    device: str = "auto",
) -> dict[str, list[Point]]:
    """How overall accuracy pays for few-shot accuracy, see :mod:`dqroute.core.curves`; asked for like a report.

    Returns the points of ``"routed"``, the run's own prediction, of ``"plain mean"``, its experts' mean logits, and of
    ``"calibrated"``, these after the method's calibration.
    """
    run = opened(run)
    data, file = checked_data(run, data, split), TRADE_OFF.format(split=split)
    if (known := run.read(file)) is not None:
        # JSON knows no NaN.
        return {name: [Point(*(nan if x is None else x for x in p)) for p in points] for name, points in known.items()}
    model, images, groups = at_work(run, data, split, device)
    log_p: dict[str, list[Tensor]] = {"routed": [], "plain mean": [], "calibrated": []}
    with torch.no_grad(), model.unadapted():
        for batch in images.chunks(256):
            outputs = model.outputs(batch)
            log_p["routed"].append(model.fuse(outputs).log_probability.cpu())
            log_p["plain mean"].append(outputs.logits.mean(dim=0).cpu())
            log_p["calibrated"].append(model.calibration(outputs.logits.mean(dim=0)).cpu())
    log_pi = model.log_pi.cpu()
    curves = {name: trade_off(torch.cat(rows), images.labels, groups, log_pi) for name, rows in log_p.items()}
    # Six digits tell a hundred thousand images apart.
    plain = {name: [[None if isnan(x) else round(x, 6) for x in p] for p in points] for name, points in curves.items()}
    run.keep(file, plain)
    return curves


def checked_data(run: Run, data: ImageSet | None, split: str) -> ImageSet | None:
    """These images, or those that the run has at hand, if any; ValueError if they are not those of the run."""
    choose("split", split, SPLITS)
    if not isinstance(data, (ImageSet, NoneType)):
        raise ValueError(f"a run is evaluated on an image set from dq.load; got {shown(data)}")
    if (data := data or run.data) is not None:
        if data.encoding is None and "features" in run.settings["data"] and not differences(data, run):
            data = seen_by(run, data)
        parts = ("train",) if split == OUT_OF_FOLD else (split,)
        if wrong := differences(data, run):
            check_files(data, parts=parts)  # a damaged file has another size: that is what should be heard of
            raise ValueError(
                f"{data.name} as loaded is not the data of {run.folder}: {wrong}; if these are other "
                "labelled pictures, or changed ones, on purpose: dq.evaluate(run, data, other=True)"
            )
        run.warn_of_other_images(data, parts)
    return data


def seen_by(run: Run, data: ImageSet, device: str = "auto", progress: bool = True) -> ImageSet:
    """Pictures as features by the axes of a run on features: worked out anew they are the same to rounding only."""
    told, model = run.settings["data"]["features"], run.model
    axes = (each.cpu() for each in (model.centre, model.scale, model.axes))
    own = Encoding(told["backbone"], told["weights"], told["size"], "", *axes)
    views = told.get("views", 1)
    return features(data, told["backbone"], views=views, encoding=own, device=device, progress=progress)


def at_work(run: Run, data: ImageSet | None, split: str, device: str) -> tuple[Method, AnySplit, ShotGroups]:
    """The model on its device, the images to evaluate it on, and the groups; ValueError if there are no images."""
    if data is None:
        raise ValueError(f"{run!r} was opened without its images; pass the image set too, as in dq.evaluate(run, data)")
    if choose("split", split, ("test", "val")) not in data.splits:
        what = {
            "val": "a validation split",
            "test": "test images, without which dq.evaluate alone reports, out of fold",
        }
        raise ValueError(f"{data.name} was loaded without {what[split]}; load it with {split}=0.2, say")
    return run.model.to(resolve_device(device)), data.splits[split], data.groups


def differences(data: ImageSet, run: Run) -> str:
    """Which parts of the identity differ, for a message; of pictures those alone that features do not decide."""
    wanted: dict[str, Any] = run.settings["data"]
    if data.encoding is None:
        wanted = {name: value for name, value in wanted.items() if name != "features"}
    keys = sorted(k for k in wanted.keys() | data.identity.keys() if wanted.get(k) != data.identity.get(k))
    return ", ".join(f"{k} is {data.identity.get(k)!r}, was {wanted.get(k)!r}" for k in keys)


def score(
    prediction: Prediction,
    labels: Tensor,
    groups: ShotGroups,
    class_sets: Tensor,
    name: str,
    memorised: float | None = None,
    counts: Tensor | None = None,
) -> Report:
    """Compare the prediction for a split with its labels ``[N]``; class_sets: bool ``[K, C]``; name: of the split.

    With ``counts``, training images ``[C]``, the groups' description tells their ranges.
    """
    p = prediction.probabilities
    group, images = groups.of_class()[labels], labels.bincount(minlength=p.shape[1])
    hits = labels[prediction.label == labels].bincount(minlength=p.shape[1])
    inside = {"overall": torch.ones_like(labels, dtype=torch.bool)}
    inside |= {shot: group == index for index, shot in enumerate(GROUP_NAMES)}
    return Report(
        split=name,
        images=len(labels),
        **measures(prediction.label, labels, groups),
        groups=groups.description if counts is None else groups.described(counts),
        per_class=[hit / n if n else None for hit, n in zip(hits.tolist(), images.tolist(), strict=True)],
        plain_mean=measures(prediction.mean_label, labels, groups),
        per_expert=mean(prediction.expert_labels == labels[:, None]),
        calibration={shot: calibration_error(p[those], labels[those]) for shot, those in inside.items()},
        expert_weights={shot: mean(prediction.expert_weights[inside[shot]]) for shot in GROUP_NAMES},
        detectors=detector_quality(prediction.confidence, class_sets, labels),
        imbalance=(images[images > 0].max() / images[images > 0].min()).item(),
        calibrated=measures(prediction.calibrated_label, labels, groups),
        memorised=memorised,
    )


def measures(predicted: Tensor, labels: Tensor, groups: ShotGroups) -> dict[str, Any]:
    """All measures of accuracy that a :class:`~dqroute.runs.report.Report` has, of classes ``[N]`` said and true."""
    number, right, group = groups.num_classes, predicted == labels, groups.of_class()[labels]
    images, said = (of.bincount(minlength=number).double() for of in (labels, predicted))
    hits, held = labels[right].bincount(minlength=number).double(), images > 0
    accuracy = (hits / images)[held]
    fifth = accuracy.sort().values[: max(1, len(accuracy) // 5)]
    return {
        "overall": mean(right),
        "balanced": accuracy.mean().item(),
        **{shot: mean(right[group == index]) for index, shot in enumerate(GROUP_NAMES)},
        "worst": fifth.mean().item(),
        "harmonic": 1 / (images[held] / hits[held].clamp_min(0.5)).mean().item(),
        "macro_f1": (2 * hits / (images + said))[held].mean().item(),
    }


def mean(rows: Tensor) -> Any:
    """The mean of rows, or the share of what is true, as plain numbers; None of nothing."""
    return rows.float().mean(dim=0).tolist() if len(rows) else None


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float | None:
    """Expected calibration error ``Σ_m (n_m / N) |accuracy_m - confidence_m|`` over equal bins (Guo et al., 2017).

    Of probabilities ``[N, C]`` and labels ``[N]``; None of no images.
    """
    # Here, because it takes a second to import and most of a session never calibrates.
    from torchmetrics.functional.classification import multiclass_calibration_error

    if not len(labels):
        return None
    return multiclass_calibration_error(probabilities, labels, probabilities.shape[1], bins, "l1").item()


def detector_quality(confidence: Tensor, class_sets: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """AUROC and FPR95 of each detector that has its own images and outsiders; ``[N, K]``, bool ``[K, C]``, ``[N]``."""
    # Here, for the same reason.
    from sklearn.metrics import roc_auc_score, roc_curve

    quality: list[dict[str, Any]] = []
    for k, members in enumerate(class_sets):
        own, scores = members[labels].numpy(), confidence[:, k].double().numpy()
        if own.any() and not own.all():
            let_in, kept, _ = roc_curve(own, scores, drop_intermediate=False)
            rates = {"auroc": float(roc_auc_score(own, scores)), "fpr95": float(let_in[(kept >= 0.95).argmax()])}
            quality.append({"expert": k + 1, "classes": int(members.sum())} | rates)
    return quality
