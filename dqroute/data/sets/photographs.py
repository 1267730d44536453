"""Photographs that come with the package: CIFAR-100 as a pretrained network sees it. Nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

from dqroute.data.disk import read_tensors
from dqroute.data.draw import Draw
from dqroute.data.image_set import Encoding, FeatureSplit, ImageSet

FILE = Path(__file__).with_name("photographs.safetensors.gz")


def photographs(
    *,
    imbalance: float | None = 100.0,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    n_max: int | None = None,
    order: str | list[int] = "label",
) -> ImageSet:
    """100 classes of photographs of animals, plants, vehicles, things, long-tailed, class 0 the head, 500 images in it.

    They are features, 256 principal components in eight bits each, of CIFAR-100's pictures (Krizhevsky, 2009) enlarged
    to 160 pixels, by EfficientNet-Lite0 as trained on ImageNet: the pictures themselves are not here. The pool drawn
    from has imbalance 10 (19,573 images; the components are its own), the test set is CIFAR-100's, 100 images a class.
    A model trained on them predicts from pictures.

    Args:
        imbalance: 10 or more; seed, groups, val, n_max, order: see :class:`dqroute.data.draw.Draw`.
    """
    held, told = read_tensors(FILE, "install the package again")
    axes = held["axes"] * held["axes_step"]
    encoding = Encoding(
        *(told["backbone"], told["weights"], int(told["size"]), told["interpolation"]),
        *(held["centre"], held["scale"], axes),
    )
    pool, test = (FeatureSplit(held[part] * held["step"], held[f"{part}_labels"].long()) for part in ("train", "test"))
    draw = Draw(imbalance, seed, groups, val, n_max, order)
    seen = {"backbone": encoding.backbone, "weights": encoding.weights, "size": encoding.size}
    seen["components"] = axes.shape[1]
    return ImageSet.drawn(
        draw,
        pool.labels,
        pool.at,
        name="photographs",
        test=test,
        class_names=tuple(json.loads(told["class_names"])),
        augmentation=None,
        identity={"name": "photographs", "version": 1} | draw.identity | {"features": seen},
        encoding=encoding,
    )
