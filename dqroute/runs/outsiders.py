"""Pictures of nothing that the model knows: does what it computes give them away?

The detectors tell an expert's own classes from the others, for routing. Whether any score also tells the data set's
images from those of another one is a question of its own, and asked here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.evaluate import check_data, data_of, separation
from dqroute.runs.run import OUTSIDERS, Run

ROUTED, MEAN, ENERGY = "probability, routed", "probability, plain mean", "energy of the mean"


@dataclass(frozen=True)
class OutsiderReport:
    """How a trained model takes pictures of another set.

    Attributes:
        images, outsiders: how many.
        scores: by the score's name ``auroc`` (probability that an image of the set has a higher score than an outsider)
            and ``fpr95`` (share of outsiders let in by the threshold that lets in 95 % of the images).
        abstention: by the name of an answer's probability a row for each threshold that lets in 5, 10, …, 100 % of the
            images: ``coverage`` (share of the images answered), ``accuracy`` (share of right ones among the images
            answered) and ``outsiders`` (share of the outsiders answered, always wrongly).
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
    """Compare a run's scores of its own images with those of outsiders; a report that it has already is returned.

    The scores: the probability of the answer, routed and of the plain mean of the experts (Hendrycks and Gimpel, 2017);
    the free energy of all classes in the mean's logits (Liu et al., 2020); each detector, for images of its classes.

    Args:
        run: a finished run.
        outsiders: pictures of none of its classes, of the same size; None if the report is there already.
        name: of the outsiders, part of the report's file, which keeps a fingerprint of them, too.
        data, split, device: as for :func:`dqroute.evaluate`; the images that outsiders are told from.

    Raises:
        ValueError: if there are no outsiders, the report there is about others, the data are not those of the run, or
            have no such split.
    """
    choose("split", split, ("test", "val"))
    if not re.fullmatch(r"[\w -]+(\.[\w -]+)*", name):
        raise ValueError(
            f"the name of the outsiders is part of a file's; use letters, digits and hyphens, not {name!r}"
        )
    check_data(run, data)
    file = OUTSIDERS.format(name=name, split=split)
    if (stored := run.read(file)) is not None:
        if outsiders is not None and stored["fingerprint"] != fingerprint(outsiders):
            raise ValueError(
                f"{file} of {run.folder} is about other pictures; read it without any, or give these another name"
            )
        return OutsiderReport(**{key: value for key, value in stored.items() if key != "fingerprint"})
    if outsiders is None or len(outsiders) == 0:
        raise ValueError(f"{run.folder} has no report on outsiders called {name!r}; give the pictures for one")
    own = data_of(run, data, split).splits[split]
    model = run.model.to(resolve_device(device))
    (inside, right), (outside, _) = scores_of(model, own), scores_of(model, outsiders)
    speaks = {f"detector of expert {k + 1}": s[own.labels] for k, s in enumerate(model.class_sets().cpu())}
    scores = {score: separation(p[speaks.get(score, slice(None))], outside[score]) for score, p in inside.items()}
    abstention = {score: abstentions(inside[score], right[score], outside[score]) for score in right}
    report = OutsiderReport(len(own), len(outsiders), scores, abstention)
    run.keep(file, asdict(report) | {"fingerprint": fingerprint(outsiders)})
    return report


def fingerprint(outsiders: AnySplit) -> str:
    """SHA-256 over what tells these pictures from others: their number and size, and all that they hold."""
    digest = hashlib.sha256(f"{len(outsiders)} {outsiders.shape}".encode())
    for piece in outsiders.content():
        digest.update(piece)
    return digest.hexdigest()


@torch.no_grad()
def scores_of(model: Method, split: AnySplit) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Each score of all images, ``[N]``, larger for what the model knows; and which answers are right, bool ``[N]``."""
    rows = []
    for images in split.chunks(256):
        outputs = model.outputs(images)
        joint, odds = outputs.logits.mean(dim=0), model.log_odds(outputs)
        routed, plain = model.fuse(outputs).log_probability.exp().max(dim=1), joint.softmax(dim=1).max(dim=1)
        answers = routed.indices, plain.indices, routed.values, plain.values, joint.logsumexp(dim=1)
        rows.append(torch.stack([value.double().cpu() for value in (*answers, *odds)]))
    said_routed, said_plain, *values = torch.cat(rows, dim=1)
    detectors = {f"detector of expert {k + 1}": k for k, own in enumerate(model.class_sets()) if not own.all()}
    names = {ROUTED: 0, MEAN: 1, ENERGY: 2} | {name: 3 + k for name, k in detectors.items()}
    right = {ROUTED: said_routed == split.labels, MEAN: said_plain == split.labels}
    return {name: values[place] for name, place in names.items()}, right


def abstentions(inside: Tensor, right: Tensor, outside: Tensor) -> list[dict[str, float]]:
    """The rows of :attr:`OutsiderReport.abstention`.

    Args:
        inside: probabilities of the images' answers, ``[N]``; right: bool ``[N]``; outside: ``[M]``.
    """
    ordered = inside.sort(descending=True).values
    rows = []
    for percent in range(5, 101, 5):
        threshold = ordered[max(round(percent / 100 * len(ordered)), 1) - 1]
        answered, let_in = inside >= threshold, outside >= threshold
        shares = {"coverage": answered, "accuracy": right[answered], "outsiders": let_in}
        rows.append({name: share.double().mean().item() for name, share in shares.items()})
    return rows
