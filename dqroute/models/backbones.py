"""Backbones by name, cut into stages: CIFAR's small ResNets, and torchvision's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import choose


class Stage(NamedTuple):
    """A part of a backbone: what makes one of it, and the number of channels it puts out."""

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
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(y + x)


def cifar_resnet(depth: int, channels: int, branch_width: float) -> list[Stage]:
    """The ResNet for 32x32 images: a 3x3 stem, three stages 16/32/64 wide, no pooling between (He et al., 2016).

    ``depth`` is ``6n + 2`` with ``n`` blocks a stage: 8, 20, 32, … ``branch_width`` is a factor on the width of stages
    2 and 3; ¾ is the reduced form (24/48) that RIDE and SADE use to pay for their experts.
    """
    widths = [16, round(32 * branch_width), round(64 * branch_width)]

    def stage(number: int) -> nn.Module:
        width, before = widths[number], widths[max(0, number - 1)]
        parts: list[nn.Module] = []
        if number == 0:
            parts = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        parts.append(BasicBlock(before, width, stride=2 if number else 1))
        parts += [BasicBlock(width, width, stride=1) for _ in range((depth - 2) // 6 - 1)]
        return nn.Sequential(*parts)

    return [Stage(partial(stage, number), width) for number, width in enumerate(widths)]


class Downsampling(nn.Conv2d):
    """A convolution with a stride, which a map of one pixel does without: the same function.

    There the gradient of a kernel with a stride is memory that nobody has written in bfloat16 on processors, as torch
    2.14 with oneDNN 3.12 has it: of large networks' last layers, where pictures have 16 pixels or fewer.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride = (1, 1) if input.shape[2:] == (1, 1) else self.stride
        return F.conv2d(input, weight, bias, stride, self.padding, self.dilation, self.groups)


def torchvision_network(name: str, channels: int) -> Any:
    """One of torchvision's networks, randomly initialised, for images of so many channels."""
    # Here and below, because torchvision takes two seconds to import and the small networks do without it.
    import torchvision

    network = torchvision.models.get_model_builder(name)(weights=None)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
    return network


def torchvision_resnet(name: str, channels: int, branch_width: float) -> list[Stage]:
    """Any ResNet, ResNeXt or Wide ResNet of torchvision, randomly initialised: stem and layer 1, then layers 2 to 4."""
    if branch_width != 1:
        raise ValueError(f"branch_width belongs to the CIFAR ResNets; {name} comes at full width only")
    # Built once, however many experts take a copy of its stages: a large network takes seconds.
    net = torchvision_network(name, channels)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
            module.__class__ = Downsampling
    first = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    widths = [64 * 2**index * net.layer1[0].expansion for index in range(4)]
    stages = zip([first, net.layer2, net.layer3, net.layer4], widths, strict=True)
    return [Stage(partial(copy.deepcopy, stage), width) for stage, width in stages]


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
