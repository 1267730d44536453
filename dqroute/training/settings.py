"""The settings of a training run: one dataclass, a few presets, and an error for everything unknown."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from math import cos, pi
from numbers import Integral
from typing import Any

from dqroute.core.checks import checked_range, checked_whole, choose

MUON_SETTINGS = ("optimizer", "kernel_lr", "kernel_decay")
# Left out of what decides a run where they say nothing, so that runs from before there was a choice are found.
IF_SAID = {"pretrained": None, "trunk_lr": 1.0}


@dataclass(frozen=True)
class Settings:
    """How a network is trained, whatever the method.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        lr: peak learning rate of SGD with Nesterov momentum.
        momentum, weight_decay: of SGD.
        optimizer: ``"sgd"``, or ``"muon"``: Muon for the convolutions' kernels, SGD for the rest; see
            :class:`dqroute.training.optimizer.Updates`.
        kernel_lr, kernel_decay: peak learning rate and weight decay of Muon.
        schedule: ``"cosine"`` to zero, or ``"step"``: ×0.1 at 80 % and again at 90 % of the epochs (160, 180 of 200).
        warmup: epochs over which the rate rises linearly from zero.
        backbone: a name from :func:`dqroute.models.experts.backbone_names`.
        shared_depth: stages the experts share, up to all: then each is a classifier of one network.
        branch_width: factor on the width of the later stages of a CIFAR ResNet.
        precision: ``"bf16"``, ``"fp32"``, or ``"auto"``: bf16 where the hardware computes in it.
        pretrained: weights to start from: None for random ones, ``"imagenet"`` for torchvision's, or the path of a
            safetensors file; see :func:`dqroute.models.pretrained.read_pretrained`.
        trunk_lr: factor on the learning rate of the shared stages, from 0 to 1.
    """

    epochs: int = 12
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 1.0
    backbone: str = "resnet8"
    shared_depth: int = 1
    branch_width: float = 1.0
    precision: str = "auto"
    optimizer: str = "sgd"
    kernel_lr: float = 0.05
    kernel_decay: float = 0.05
    pretrained: str | None = None
    trunk_lr: float = 1.0

    def __post_init__(self) -> None:
        choose("schedule", self.schedule, ("cosine", "step"))
        choose("precision", self.precision, ("auto", "bf16", "fp32"))
        choose("optimizer", self.optimizer, ("sgd", "muon"))
        for name in ("epochs", "batch_size", "shared_depth"):
            # A number out of an array would not go into the run's settings.json.
            object.__setattr__(self, name, checked_whole(name, getattr(self, name), 1))
        checked_range("branch_width", self.branch_width, 0.05, 16)
        ranges = {
            "lr": 1e3,
            "momentum": 1,
            "weight_decay": 1,
            "warmup": self.epochs,
            "kernel_lr": 1e3,
            "kernel_decay": 1,
            "trunk_lr": 1,
        }
        for name, high in ranges.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= high:
                raise ValueError(f"{name} must lie between 0 and {high:g}; got {value!r}")
        if self.pretrained == "" or not isinstance(self.pretrained, (str, os.PathLike, type(None))):
            raise ValueError(f"pretrained is None, 'imagenet' or a safetensors file; got {self.pretrained!r}")
        if isinstance(self.pretrained, os.PathLike):
            object.__setattr__(self, "pretrained", os.fspath(self.pretrained))

    def decisive(self) -> dict[str, Any]:
        """What decides the result, as plain values; Muon's settings only where it is used."""
        return {
            n: v
            for n, v in vars(self).items()
            if (self.optimizer == "muon" or n not in MUON_SETTINGS) and not (n in IF_SAID and v == IF_SAID[n])
        }

    def rate(self, epoch: float) -> float:
        """The learning rate after ``t`` epochs, a fraction allowed: ``lr`` times :meth:`share`."""
        return self.lr * self.share(epoch)

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
    # Overall as good as the field's schedule, three seeds, in a fifth of its time on one thread; see the book's page on
    # speed. Chosen on one seed's validation images: of rates up to 0.28, this one with batches of 64.
    "short": Settings(epochs=36, batch_size=64, backbone="resnet32", warmup=2.0, optimizer="muon", kernel_lr=0.14),
    # The field's schedule for ImageNet-LT: ResNeXt-50 (backbone="resnet50" for the other), 180 epochs of cosine,
    # rate 0.1 at 256 images a step; experts own stages 3 and 4, at full width, where RIDE and SADE reduce them.
    "imagenet-lt": Settings(
        epochs=180, batch_size=256, warmup=0.0, backbone="resnext50_32x4d", shared_depth=2, weight_decay=5e-4
    ),
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
}


def training_settings(preset: str, changes: dict[str, Any]) -> Settings:
    """A preset with some settings changed; None means "as the preset has it".

    A warm-up that comes from the preset, not from the caller, is at most a third of the training.
    """
    base = PRESETS[choose("preset", preset, PRESETS)]
    given = {name: value for name, value in changes.items() if value is not None}
    epochs = given.get("epochs", base.epochs)
    if "warmup" not in given and isinstance(epochs, Integral):
        given["warmup"] = min(base.warmup, int(epochs) / 3)
    return replace(base, **given)


def setting_names() -> list[str]:
    """The names that :func:`dqroute.fit` takes as training settings."""
    return [field.name for field in fields(Settings)]
