"""Backbones cut into a shared trunk and one branch an expert.

Every method here uses the same network: a trunk of shared stages, then for each expert its own copy of the
remaining stages, if any, and its own classifier. One expert is an ordinary network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import choose

CLASSIFIERS = ("linear", "cosine")
COSINE_SCALE = 30.0  # of the cosine classifier's logits, as in the multi-expert papers


class ExpertOutputs(NamedTuple):
    """What the network says of a batch.

    Attributes:
        logits: ``[K, B, C]``, one row of logits an expert.
        features: ``[K, B, D]``, what each expert's classifier reads.
        shared: ``[B, D0]``, the trunk's output, averaged over positions: known before any expert has run.
        ran: bool ``[K, B]``, which experts ran for which image, where some were skipped; None where all ran. Logits
            and features of an expert that did not run are zero.
    """

    logits: Tensor
    features: Tensor
    shared: Tensor
    ran: Tensor | None = None

    def where_run(self, log_odds: Tensor) -> Tensor:
        """Detector log-odds ``[K, B]``, ``-inf`` for experts that did not run: then no fusion rule listens to them."""
        return log_odds if self.ran is None else log_odds.masked_fill(~self.ran, -torch.inf)


class Ask(Protocol):
    """For which images the next expert shall run; see :mod:`dqroute.core.routing` for the rules there are."""

    def __call__(self, shared: Tensor, logits: list[Tensor], ran: list[Tensor]) -> Tensor:
        """Asked before each expert in turn.

        Args:
            shared: the pooled trunk, ``[B, D0]``.
            logits: of the experts before, ``[B, C]`` each, zero where one did not run.
            ran: for which images the experts before ran, bool ``[B]`` each.

        Returns:
            bool ``[B]``.
        """


class Stage(NamedTuple):
    """A part of a backbone, and the number of channels it puts out."""

    make: Callable[[], nn.Module]
    channels: int


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (He et al., 2016, option A).

    Where the block changes the shape, the shortcut takes every second pixel and pads the new channels with zeros.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.stride, self.new_channels = stride, channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(y + x)


def cifar_resnet(depth: int, channels: int, branch_width: float) -> list[Stage]:
    """The ResNet for 32x32 images: a 3x3 stem, three stages 16/32/64 wide, no pooling between (He et al., 2016).

    Args:
        depth: ``6n + 2`` layers with ``n`` blocks a stage: 8, 20, 32, …
        channels: of the images.
        branch_width: factor on the width of stages 2 and 3; ¾ is the reduced form (24/48) that RIDE and SADE use
            to pay for their experts.
    """
    blocks = (depth - 2) // 6
    widths = [16, round(32 * branch_width), round(64 * branch_width)]

    def stem_and_first() -> nn.Module:
        stem = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        return nn.Sequential(*stem, *stage(16, 16, 1))

    def stage(channels_in: int, channels_out: int, stride: int) -> list[BasicBlock]:
        first = BasicBlock(channels_in, channels_out, stride)
        return [first] + [BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1)]

    return [
        Stage(stem_and_first, 16),
        Stage(lambda: nn.Sequential(*stage(16, widths[1], 2)), widths[1]),
        Stage(lambda: nn.Sequential(*stage(widths[1], widths[2], 2)), widths[2]),
    ]


def torchvision_resnet(name: str, channels: int, branch_width: float) -> list[Stage]:
    """Any ResNet, ResNeXt or Wide ResNet of torchvision, randomly initialised: stem and layer 1, then layers 2 to 4."""
    if branch_width != 1:
        raise ValueError(f"branch_width belongs to the CIFAR ResNets; {name} comes at full width only")
    # Here and below, because torchvision takes two seconds to import and the small networks do without it.
    import torchvision

    build = torchvision.models.get_model_builder(name)
    # On the meta device the whole network is built without memory, to learn the widths.
    with torch.device("meta"):
        probe = build(weights=None)
    expansion = probe.layer1[0].expansion

    def layer(index: int) -> nn.Module:
        model = build(weights=None)
        return getattr(model, f"layer{index}")

    def stem_and_first() -> nn.Module:
        model = build(weights=None)
        if channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
        return nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)

    stages = [Stage(stem_and_first, 64 * expansion)]
    for index in (2, 3, 4):
        stages.append(Stage(partial(layer, index), 64 * 2 ** (index - 1) * expansion))
    return stages


CIFAR_DEPTHS = {"resnet8": 8, "resnet20": 20, "resnet32": 32}


def backbone_names() -> list[str]:
    """The backbones there are: the CIFAR ResNets and torchvision's."""
    import torchvision

    models = torchvision.models.list_models(module=torchvision.models)
    residual = [name for name in models if name.startswith(("resnet", "resnext", "wide_resnet"))]
    return [*CIFAR_DEPTHS, *residual]


def backbone_stages(name: str, channels: int, branch_width: float = 1.0) -> list[Stage]:
    """The stages of a backbone by name."""
    if name in CIFAR_DEPTHS:
        return cifar_resnet(CIFAR_DEPTHS[name], channels, branch_width)
    choose("backbone", name, backbone_names())
    return torchvision_resnet(name, channels, branch_width)


class CosineClassifier(nn.Module):
    """Logits ``s · cos(feature, weight)``: every class has the same weight norm, however many images it had.

    Args:
        scale: ``s``.
    """

    def __init__(self, features: int, num_classes: int, scale: float = COSINE_SCALE) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features).uniform_(-1, 1))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class ExpertNetwork(nn.Module):
    """A shared trunk and ``K`` expert branches.

    Args:
        backbone: a name from :func:`backbone_names`.
        num_classes: ``C``.
        channels: of the images.
        experts: ``K``, at least 1.
        shared_depth: how many of the backbone's stages the experts share, from 1 to all. The CIFAR ResNets have 3
            stages, torchvision's 4; the stem belongs to the first. With all of them shared, an expert is a classifier
            of features that the experts learn together, and skipping it saves no more than that.
        branch_width: see :func:`cifar_resnet`.
        classifier: ``"linear"`` or ``"cosine"``.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        channels: int = 3,
        experts: int = 1,
        shared_depth: int = 1,
        branch_width: float = 1.0,
        classifier: str = "linear",
    ) -> None:
        super().__init__()
        stages = backbone_stages(backbone, channels, branch_width)
        if experts < 1:
            raise ValueError(f"a network needs at least one expert; got experts={experts}")
        if not 1 <= shared_depth <= len(stages):
            raise ValueError(f"{backbone} has {len(stages)} stages: shared_depth runs from 1 to {len(stages)}")
        choose("classifier", classifier, CLASSIFIERS)
        shared, own = stages[:shared_depth], stages[shared_depth:]
        self.num_classes, self.shared_features, self.features = num_classes, shared[-1].channels, stages[-1].channels
        self.trunk = nn.Sequential(*[stage.make() for stage in shared])
        self.branches = nn.ModuleList(nn.Sequential(*[stage.make() for stage in own]) for _ in range(experts))
        make = nn.Linear if classifier == "linear" else CosineClassifier
        self.classifiers = nn.ModuleList(make(self.features, num_classes) for _ in range(experts))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def experts(self) -> int:
        """``K``."""
        return len(self.branches)

    def forward(self, images: Tensor, ask: Ask | None = None) -> ExpertOutputs:
        """Run the experts on normalised images ``[B, channels, H, W]``; outputs are float32.

        Args:
            ask: tells before each expert for which images it shall run; all run where it is left out.
        """
        shared = self.trunk(images)
        pooled = shared.mean(dim=(2, 3)).float()
        features: list[Tensor] = []
        logits: list[Tensor] = []
        ran: list[Tensor] = []
        for branch, classify in zip(self.branches, self.classifiers, strict=True):
            if ask is not None:
                ran.append(ask(pooled, logits, ran))
            if ask is None or bool(ran[-1].all()):
                features.append(branch(shared).mean(dim=(2, 3)).float())
            else:
                features.append(self.run_for(branch, shared, ran[-1]))
            # The classifiers are a sliver of the work; in full precision their logits keep their last digits.
            with torch.autocast(images.device.type, enabled=False):
                logits.append(classify(features[-1]))
            if ask is not None:
                logits[-1] = logits[-1] * ran[-1][:, None]
        return ExpertOutputs(torch.stack(logits), torch.stack(features), pooled, torch.stack(ran) if ran else None)

    def run_for(self, branch: nn.Module, shared: Tensor, chosen: Tensor) -> Tensor:
        """One expert's features ``[B, D]`` of the chosen images (bool ``[B]``), zero for the others."""
        features = shared.new_zeros(len(shared), self.features, dtype=torch.float32)
        index = chosen.nonzero().flatten()
        if len(index):
            features[index] = branch(shared[index]).mean(dim=(2, 3)).float()
        return features
