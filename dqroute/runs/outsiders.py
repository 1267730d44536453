"""Pictures of nothing that the model knows: does what it computes give them away?

The detectors tell an expert's own classes from the others, for routing. Whether any score also tells the data set's
images from those of another one is a question of its own, and asked here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.data.disk import keep_json, read_json
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.evaluate import check_data, data_of, separation
from dqroute.runs.run import Run
from dqroute.training.distribution import is_main

ROUTED, MEAN = "probability, routed", "probability, plain mean"
COVERAGES = tuple(percent / 100 for percent in range(5, 101, 5))


@dataclass(frozen=True)
class OutsiderReport:
    """How a trained model takes pictures of another set.

    Attributes:
        images, outsiders: how many.
        scores: by the score's name ``auroc`` (probability that an image of the set has a higher score than an outsider)
            and ``fpr95`` (share of outsiders let in by the threshold that lets in 95 % of the images).
        abstention: by the name of an answer's probability a row for each threshold: ``coverage`` (share of the images
            answered), ``accuracy`` (share of right ones among the images answered) and ``outsiders`` (share of the
            outsiders answered, always wrongly).
    """

    images: int
    outsiders: int
    scores: dict[str, dict[str, float]]
    abstention: dict[str, list[dict[str, float]]]


def tell_outsiders(
    run: Run,
    outsiders: AnySplit | None,
    name: str,
    data: ImageSet | None = None,
    *,
    split: str = "test",
    device: str = "auto",
) -> OutsiderReport:
    """Compare a run's scores of its own images with those of outsiders; a report already in its folder is returned.

    The scores: the probability of the answer, routed and of the plain mean of the experts (Hendrycks and Gimpel, 2017);
    the free energy of all classes in the mean's logits (Liu et al., 2020); each detector, for images of its classes.

    Args:
        run: a finished run.
        outsiders: pictures of none of its classes, of the same size; None if the report is there already.
        name: of the outsiders, for the file ``outsiders-NAME-SPLIT.json``; it keeps a fingerprint of them, too.
        data: the image set; by default the one the run was trained on in this process.
        split: whose images the outsiders are told from.
        device: where to compute.

    Raises:
        ValueError: if there are no outsiders, the report there is not known to be about them, the data are not those
            of the run, or have no such split.
    """
    choose("split", split, ("test", "val"))
    if not re.fullmatch(r"[\w -]+(\.[\w -]+)*", name):
        raise ValueError(
            f"the name of the outsiders is part of a file's; use letters, digits and hyphens, not {name!r}"
        )
    check_data(run, data)
    path = run.folder / f"outsiders-{name}-{split}.json"
    if path.is_file():
        stored = read_json(path)
        known = stored.pop("fingerprint", None)
        if outsiders is not None and known != fingerprint(outsiders):
            about = "does not say which pictures it is about" if known is None else "is about other pictures"
            raise ValueError(f"{path} {about}; read it without any, or give these another name than {name!r}")
        return OutsiderReport(**stored)
    if outsiders is None or len(outsiders) == 0:
        raise ValueError(f"{run.folder} has no report on outsiders called {name!r}; give the pictures for one")
    own = data_of(run, data, split).splits[split]
    model = run.model.to(resolve_device(device))
    inside, right = scores_of(model, own)
    outside, _ = scores_of(model, outsiders)
    scores = {
        score: separation(inside[score][mine[own.labels]], outside[score])
        for score, mine in classes_of(model, list(inside)).items()
    }
    abstention = {score: abstentions(inside[score], right[score], outside[score]) for score in right}
    report = OutsiderReport(len(own), len(outsiders), scores, abstention)
    if is_main():
        keep_json(path, asdict(report) | {"fingerprint": fingerprint(outsiders)})
    return report


def fingerprint(outsiders: AnySplit) -> str:
    """SHA-256 over what tells these pictures from others: their number and size, and all that they hold."""
    digest = hashlib.sha256(f"{len(outsiders)} {outsiders.shape}".encode())
    for piece in outsiders.content():
        digest.update(piece)
    return digest.hexdigest()


@torch.no_grad()
def scores_of(model: Method, split: AnySplit) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Each score of all images, ``[N]``, larger for what the model knows; and where an answer is right, ``[N]``."""
    rows: dict[str, list[Tensor]] = {}
    labels: dict[str, list[Tensor]] = {ROUTED: [], MEAN: []}
    for images in split.chunks(256):
        outputs = model.outputs(images)
        joint = outputs.logits.mean(dim=0)
        routed, plain = model.fuse(outputs).log_probability.max(dim=1), joint.softmax(dim=1).max(dim=1)
        found = {ROUTED: routed.values.exp(), MEAN: plain.values, "energy of the mean": joint.logsumexp(dim=1)}
        for k, odds in enumerate(model.log_odds(outputs)):
            if not model.class_sets()[k].all():
                found[f"detector of expert {k + 1}"] = odds
        for score, values in found.items():
            rows.setdefault(score, []).append(values.cpu())
        labels[ROUTED].append(routed.indices.cpu())
        labels[MEAN].append(plain.indices.cpu())
    right = {name: torch.cat(answers) == split.labels for name, answers in labels.items()}
    return {score: torch.cat(values) for score, values in rows.items()}, right


def classes_of(model: Method, scores: list[str]) -> dict[str, Tensor]:
    """The classes that each score speaks for, bool ``[C]``: a detector for its expert's, any other for all."""
    sets = model.class_sets().cpu()
    everything = torch.ones_like(sets[0])
    return {s: sets[int(s.rpartition(" ")[2]) - 1] if s.startswith("detector") else everything for s in scores}


def abstentions(inside: Tensor, right: Tensor, outside: Tensor) -> list[dict[str, float]]:
    """What is answered at thresholds that let in 5, 10, …, 100 % of the images; see :class:`OutsiderReport`.

    Args:
        inside: probabilities of the images' answers, ``[N]``; right: bool ``[N]``; outside: ``[M]``.
    """
    ordered = inside.sort(descending=True).values
    rows: list[dict[str, Any]] = []
    for coverage in COVERAGES:
        threshold = ordered[max(round(coverage * len(ordered)), 1) - 1]
        answered = inside >= threshold
        rows.append(
            {
                "coverage": answered.double().mean().item(),
                "accuracy": right[answered].double().mean().item(),
                "outsiders": (outside >= threshold).double().mean().item(),
            }
        )
    return rows
