"""A model before its first step: what it has to know of the images, and the weights that it starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dqroute.data.feature_set import fitting
from dqroute.data.forecast import features_take
from dqroute.data.image_set import ImageSet
from dqroute.methods.base import EncoderNeeds, Method, Problem
from dqroute.models import pretrained
from dqroute.models.backbones import CIFAR_DEPTHS
from dqroute.models.encoders import is_encoder, loaded
from dqroute.models.experts import ExpertNetwork
from dqroute.runs.run import Run, build
from dqroute.training.going_on import go_on, start_from_encoder
from dqroute.training.settings import Settings


def check_options(method: str, data: ImageSet, encoder: str, settings: Settings, options: dict[str, Any]) -> None:
    """Have the method refuse its options before files are checked or features are computed, which take their time.

    ``encoder`` names the one whose features heads are to read; none where a network is trained from nothing.
    """
    truth = None if data.true_difficulty is None else tuple(data.true_difficulty.tolist())
    problem = Problem(data.counts, data.groups, 1, (0.0,), (1.0,), difficulty=truth)
    if encoder:
        small = EncoderNeeds("", 1, "", 1, 1)
        problem = replace(problem, backbone=encoder, encoder=small, folds=settings.folds)
    build({"method": method, "seed": 0, "options": options, "training": vars(settings)}, problem)


def problem_of(data: ImageSet, settings: Settings, components: int = 0) -> Problem:
    """What a method has to know of an image set, and of the network that is asked for.

    ``components`` are those that a network to be fine-tuned reads. ValueError if pictures are not of the size that a
    pretrained encoder, to be trained on, wants.
    """
    mean, std = data.train.statistics
    truth = None if data.true_difficulty is None else tuple(data.true_difficulty.tolist())
    problem = Problem(data.counts, data.groups, data.shape[0], mean, std, difficulty=truth, scale=settings.cosine_scale)
    problem = replace(problem, fit=data.identity.get("fit", "crop"))
    if (encoding := data.encoding) is not None:
        needs = EncoderNeeds(encoding.weights, encoding.size, encoding.interpolation, *encoding.axes.shape)
        if settings.folds > len(data.train):
            few = f"{len(data.train)} training images cannot be divided into {settings.folds} folds"
            fewer = "folds=2, say, or " * (len(data.train) > 1)
            raise ValueError(f"{few}; use {fewer}folds=0, which judges by training images")
        return replace(problem, channels=3, backbone=encoding.backbone, encoder=needs, folds=settings.folds)
    network = {name: getattr(settings, name) for name in ("backbone", "shared_depth", "branch_width")}
    problem = replace(problem, size=data.shape[1:], **network)
    if not is_encoder(settings.backbone):
        return problem
    wanted = loaded(settings.backbone).preprocessing
    if tuple(data.shape) != (3, wanted.size, wanted.size):
        raise ValueError(
            f"to train {settings.backbone} on, pictures are 3x{wanted.size}x{wanted.size}; these are "
            f"{'x'.join(map(str, data.shape))}: load the set with size={wanted.size}"
        )
    mean, std = (tuple(255 * value for value in values) for values in (wanted.mean, wanted.std))
    return replace(problem, mean=mean, std=std, tune=settings.tune, components=components)


def begun(
    request: dict[str, Any], problem: Problem, data: ImageSet, settings: Settings, parent: Run | None, heads: Run | None
) -> Method:
    """The model of a request, with the weights to start from: the ``parent``'s, an encoder's and ``heads``, or read."""
    model = build(request, problem)
    if (encoding := data.encoding) is not None:
        for name in ("centre", "scale", "axes"):
            getattr(model, name).copy_(getattr(encoding, name))
    if parent is not None:
        go_on(model, parent, data.class_names)
    elif is_encoder(settings.backbone):
        start_from_encoder(model, settings.backbone, heads)
    elif settings.pretrained and isinstance(model.network, ExpertNetwork):
        weights = pretrained.read_pretrained(settings.pretrained, settings.backbone, data.shape[0])
        pretrained.start_from(model.network, weights)
    return model


def say_pretrained(data: ImageSet, encoder: str, device: str) -> None:
    """Say of pictures of one's own which network they start from, and how long it will look at them."""
    print(
        f"{data.name}: {len(data.train):,} pictures of one's own start from a pretrained network,\n  "
        f"backbone={encoder!r}, which has seen a million others:\n  "
        f"{features_take(data, encoder, device)};\n  "
        "backbone='resnet8', say, or a preset trains one from nothing"
    )


def say_from_nothing(data: ImageSet, backbone: str) -> None:
    """Say of a network for pictures of one's own that it starts from nothing, and which would not."""
    same = f"; backbone='torchvision:{backbone}' is it pretrained," * (backbone not in CIFAR_DEPTHS)
    print(
        f"{data.name}: {backbone} is trained from nothing, which wants very many pictures{same or ';'} "
        f"backbone={fitting(data)!r} is pretrained and installed"
    )
