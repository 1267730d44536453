"""The settings of a training run: one dataclass, a few presets, and an error for everything unknown."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from math import cos, pi
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from dqroute.core.checks import choose, shown
from dqroute.data.options import plain
from dqroute.methods.base import STRICT

MUON_SETTINGS = ("kernel_lr", "kernel_decay")
# Left out of what decides a run where they say nothing, so that runs from before there was a choice are found.
IF_SAID = {"pretrained": None, "trunk_lr": 1.0, "folds": 0, "tune": "heads", "optimizer": "sgd", "cosine_scale": 30.0}
Whole = Annotated[int, Field(ge=1, le=100_000, description="a whole number from 1 to 100,000")]
Amount = Annotated[float, Field(ge=0, le=1000, description="a number from 0 to 1000")]
Share = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Folds = Annotated[int, Field(ge=0, le=100, description="a whole number from 2 to 100, or 0 for none")]
Tune = Annotated[
    Literal["heads", "all"] | Annotated[int, Field(ge=1, le=1000)],
    Field(description="'heads', 'all' or how many of the last parts to train"),
]
Factor = Annotated[float, Field(ge=0.05, le=16, description="a number from 0.05 to 16")]
Scale = Annotated[float, Field(ge=1, le=100, description="a number from 1 to 100")]
Name = Annotated[str, Field(min_length=1, max_length=200, description="a network's name")]
File = Annotated[str | None, Field(min_length=1, max_length=4096, description="None, 'imagenet' or a safetensors file")]
T = TypeVar("T")


@dataclass(frozen=True, config=STRICT)
class Settings:
    """How a network is trained, whatever the method.

    Attributes:
        epochs: passes over the training images; batch_size: images a step.
        lr: peak learning rate of SGD with Nesterov momentum; momentum, weight_decay: its others.
        schedule: ``"cosine"`` to zero, or ``"step"``: ×0.1 at 80 % and again at 90 % of the epochs (160, 180 of 200).
        warmup: epochs over which the rate rises linearly from zero.
        backbone: a name from :func:`dqroute.models.backbones.backbone_names`.
        shared_depth: stages the experts share, up to all: then each is a classifier of one network.
        branch_width: factor on the width of the later stages of a CIFAR ResNet.
        precision: ``"bf16"``, ``"fp32"``, or ``"auto"``: bf16 where the hardware computes in it.
        optimizer: ``"sgd"``, ``"adamw"``, or ``"muon"``: Muon for the convolutions' kernels, SGD for the rest; see
            :class:`dqroute.training.optimizer.Updates`; kernel_lr, kernel_decay: peak rate and weight decay of Muon.
        pretrained: weights to start from: None for random ones, ``"imagenet"`` for torchvision's, or the path of a
            safetensors file; see :func:`dqroute.models.pretrained.read_pretrained`.
        trunk_lr: factor on the learning rate of the shared stages.
        tune: of a backbone that is a pretrained encoder: ``"heads"`` on its features; ``"all"`` of it is trained, or
            so many of its last parts; then heads_first: whether to begin with heads trained on its features.
        folds: on features, how many parts the training images are divided into so that each is judged by heads that
            never saw it; 0 for none, and then all judging is by training images.
        cosine_scale: what the cosine of classifiers that have one is multiplied by, from 1 to 100.
    """

    epochs: Whole = 12
    batch_size: Whole = 128
    lr: Amount = 0.1
    momentum: Share = 0.9
    weight_decay: Share = 5e-4
    schedule: Literal["cosine", "step"] = "cosine"
    warmup: Amount = 1.0
    backbone: Name = "resnet8"
    shared_depth: Whole = 1
    branch_width: Factor = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    optimizer: Literal["sgd", "muon", "adamw"] = "sgd"
    kernel_lr: Amount = 0.05
    kernel_decay: Share = 0.05
    pretrained: File = None
    trunk_lr: Share = 1.0
    folds: Folds = 0
    tune: Tune = "heads"
    heads_first: bool = True
    cosine_scale: Scale = 30.0

    def __post_init__(self) -> None:
        if self.warmup > self.epochs:
            raise ValueError(f"warmup must be a number from 0 to the {self.epochs} epochs; got {self.warmup:g}")
        if self.folds == 1:
            raise ValueError("folds must be 2 or more, or 0 for none: with one, nobody would be left to judge it")

    def decisive(self) -> dict[str, Any]:
        """What decides the result, as plain values; Muon's settings only where it is used."""
        unused = [*(MUON_SETTINGS if self.optimizer != "muon" else ()), *["heads_first"] * (self.tune == "heads")]
        return {n: v for n, v in vars(self).items() if n not in unused and (n, v) not in IF_SAID.items()}

    def share(self, epoch: float) -> float:
        """The share of the peak rates after ``t`` epochs.

        ``min(1, t / warmup)``, times ``(1 + cos(π (t - warmup) / (epochs - warmup))) / 2`` after the warm-up, or
        times 0.1 from 80 % of the epochs on and 0.01 from 90 % on.
        """
        warm = min(1.0, epoch / self.warmup) if self.warmup else 1.0
        done = epoch / self.epochs
        if self.schedule == "step":
            return warm * 0.1 ** ((done >= 0.8) + (done >= 0.9))
        left = (epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9)
        return warm * 0.5 * (1 + cos(pi * min(max(left, 0.0), 1.0)))


PRESETS = {
    # A small network and a short cosine schedule: minutes on two CPU cores. Muon learns as much in one pass over the
    # images as SGD in about two, for a tenth more time; see benchmarks/NOTES.md.
    "laptop": Settings(optimizer="muon"),
    # The field's schedule for CIFAR-LT: ResNet-32, 200 epochs, 5 of warm-up, steps at 160 and 180. What differs from
    # the authors' own code: no rotation in the augmentation, linear classifiers unless asked otherwise, and ×0.1 at
    # the steps for all methods, where LDAM and RIDE take ×0.01.
    "paper": Settings(epochs=200, backbone="resnet32", schedule="step", warmup=5.0),
    # Overall as good as the field's schedule, three seeds, in a fifth of its time on one thread (benchmarks/NOTES.md).
    # Chosen on one seed's validation images: of rates up to 0.28, this one with batches of 64.
    "short": Settings(epochs=36, batch_size=64, backbone="resnet32", warmup=2.0, optimizer="muon", kernel_lr=0.14),
    # The field's schedule for ImageNet-LT: ResNeXt-50 (backbone="resnet50" for the other), 180 epochs of cosine,
    # rate 0.1 at 256 images a step; experts own stages 3 and 4, at full width, where RIDE and SADE reduce them.
    "imagenet-lt": Settings(epochs=180, batch_size=256, warmup=0.0, backbone="resnext50_32x4d", shared_depth=2),
    # The field's schedule for Places-LT: ResNet-152 pretrained on ImageNet, 30 epochs, a tenth of the rate for the
    # shared stages. The rates fall along a cosine, where SADE takes steps.
    "places-lt": Settings(
        epochs=30,
        lr=0.01,
        warmup=0.0,
        weight_decay=4e-4,
        backbone="resnet152",
        shared_depth=2,
        pretrained="imagenet",
        trunk_lr=0.1,
    ),
    # A pretrained encoder trained on, after heads on its features: a few passes at a small rate.
    "fine-tuning": Settings(
        epochs=5,
        batch_size=64,
        lr=1e-3,
        weight_decay=0.01,
        optimizer="adamw",
        warmup=0.5,
        trunk_lr=0.1,
        cosine_scale=20.0,
    ),
    # Heads on features of a pretrained encoder: seconds. Rate and epochs are plain choices. The scale does matter: at
    # 30, the field's for networks trained end to end, heads learn the images by heart (logit adjustment on images held
    # out, book/tuning.yaml: 51.0 % at 30, 52.9 at 20).
    "features": Settings(
        epochs=20, batch_size=512, lr=0.005, weight_decay=0.0, optimizer="adamw", folds=5, cosine_scale=20.0
    ),
}


def fitting_size(images: int) -> dict[str, Any]:
    """What of the preset for features depends on how many images there are.

    400 steps or more, of 32 images or more. The scale of cosine classifiers is 20 from 4,000 images on and 10 up to
    2,000, which they would learn by heart at more (``benchmarks/small_folder.py``).
    """
    batch = min(512, max(32, 2 ** (max(images, 1) // 16).bit_length() // 2))
    epochs, scale = max(20, -(-400 // -(-images // batch))), min(20.0, max(10.0, images / 200))
    return {"batch_size": batch, "epochs": epochs, "cosine_scale": scale}


def training_settings(preset: str, changes: Mapping[str, Any]) -> Settings:
    """A preset with some settings changed, None being as the preset has it; ValueError as :func:`checked`.

    A warm-up that comes from the preset, not from the caller, is at most a third of the training.
    """
    base = PRESETS[choose("preset", preset, PRESETS)]
    given = said(changes)
    epochs, start = given.get("epochs", base.epochs), given.get("pretrained")
    if "warmup" not in given and isinstance(epochs, (int, float)) and 0 < epochs < 3 * base.warmup:
        given["warmup"] = epochs / 3
    if isinstance(start, os.PathLike):
        given["pretrained"] = os.fspath(start)
    return checked(Settings, vars(base) | given, "setting")


def said(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, in plain values, without settings that are None."""
    return {n: plain(value) for n, value in changes.items() if value is not None or n not in setting_names()}


def checked(model: type[T], values: Mapping[str, Any], kind: str) -> T:
    """An instance of a pydantic model, whose fields the message calls ``kind``.

    Raises:
        ValueError: one line on the first field that is unknown, missing, of another type or out of range.
    """
    known: dict[str, Any] = vars(model)["__pydantic_fields__"]
    for name in values:
        choose(kind, name, known)
    try:
        return model(**values)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
    if wrong["type"] == "value_error":
        raise wrong["ctx"]["error"]  # a check of ours, which has its own words
    name = str(wrong["loc"][0])
    got = f"got {shown(values[name])}" if name in values else "it is not there"
    literal = get_origin(known[name].annotation) is Literal
    if wrong["type"] == "literal_error" and literal and isinstance(values[name], str):
        choose(name, values[name], get_args(known[name].annotation))
    raise ValueError(f"{name} must be {known[name].description or wrong['ctx']['expected']}; {got}")


def setting_names() -> list[str]:
    """The names that :func:`dqroute.fit` takes as training settings."""
    return list(vars(PRESETS["laptop"]))


def setting_parameters() -> list[inspect.Parameter]:
    """The same as parameters of a function, with their types; None leaves a setting as the preset has it."""
    kinds, by_name = get_type_hints(Settings), inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, by_name, default=None, annotation=kinds[name] | None) for name in setting_names()]
