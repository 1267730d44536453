"""Pictures of nothing that the model knows: does what it computes give them away?

The detectors tell an expert's own classes from the others, for routing. Whether any score also tells the data set's
images from those of another one is a question of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.methods.base import Method
from dqroute.models.device import resolve_device
from dqroute.runs.evaluate import check_data, data_of, separation
from dqroute.runs.run import Run

ROUTED, MEAN, ENERGY = "probability, routed", "probability, plain mean", "energy of the mean"


class OutsiderReport(NamedTuple):
    """How a trained model takes pictures of another set.

    Attributes:
        scores: by the score's name ``auroc`` and ``fpr95``, see :func:`dqroute.runs.evaluate.separation`.
        abstention: by the name of an answer's probability a row for each threshold that lets in 5, 10, …, 100 % of the
            images: ``coverage`` (share of the images answered), ``accuracy`` (share of right ones among the images
            answered) and ``outsiders`` (share of the outsiders answered, always wrongly).
    """

    scores: dict[str, dict[str, float]]
    abstention: dict[str, list[dict[str, float]]]


def tell_outsiders(
    run: Run, outsiders: AnySplit, data: ImageSet | None = None, *, split: str = "test", device: str = "auto"
) -> OutsiderReport:
    """Compare a run's scores of its own images with those of outsiders.

    The scores: the probability of the answer, routed and of the plain mean of the experts (Hendrycks and Gimpel, 2017);
    the free energy of all classes in the mean's logits (Liu et al., 2020); each detector, for images of its classes.

    Args:
        outsiders: pictures of none of the run's classes, of the same size.
        run, data, split, device: as for :func:`dqroute.evaluate`, which raises the same errors.
    """
    check_data(run, data)
    own, model = data_of(run, data, split).splits[split], run.model.to(resolve_device(device))
    (inside, right), (outside, _) = scores_of(model, own), scores_of(model, outsiders)
    speaks = {f"detector of expert {k + 1}": s[own.labels] for k, s in enumerate(model.class_sets().cpu())}
    scores = {score: separation(p[speaks.get(score, slice(None))], outside[score]) for score, p in inside.items()}
    return OutsiderReport(scores, {score: abstentions(inside[score], right[score], outside[score]) for score in right})


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
    scores = dict(zip((ROUTED, MEAN, ENERGY), values, strict=False))
    for k, members in enumerate(model.class_sets()):
        if not members.all():
            scores[f"detector of expert {k + 1}"] = values[3 + k]
    return scores, {ROUTED: said_routed == split.labels, MEAN: said_plain == split.labels}


def abstentions(inside: Tensor, right: Tensor, outside: Tensor) -> list[dict[str, float]]:
    """The rows of ``OutsiderReport.abstention``.

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
