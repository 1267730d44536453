"""Convolutions that copy their pictures into a frame first, as TensorFlow's do, made to pad along the way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@torch.no_grad()
def pad_along_the_way(network: nn.Module, pictures: Tensor) -> nn.Module:
    """Have each ``Conv2dSame`` of timm be a plain convolution, in place, for pictures of this size alone.

    It copies a side of n pixels between ``p = max((⌈n/s⌉ - 1) s + (k - 1) d + 1 - n, 0)`` zeros, ``⌊p/2⌋`` of them
    before the first. Where p is odd, a kernel that begins with a zero and ``⌈p/2⌉`` at both ends say the same.
    """
    sides: dict[nn.Conv2d, torch.Size] = {}
    same = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and is_same(m)}
    hooks = [m.register_forward_pre_hook(lambda m, given: sides.update({m: given[0].shape[2:]})) for m in same.values()]
    network(pictures)
    for hook in hooks:
        hook.remove()
    for name, conv in same.items():
        every = zip(sides.get(conv, ()), conv.stride, conv.kernel_size, conv.dilation, strict=False)
        total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, s, k, d in every]
        if not total or conv.dilation != (1, 1):
            continue
        weight = F.pad(conv.weight, (total[1] % 2, 0, total[0] % 2, 0))
        size, padding = tuple(weight.shape[2:]), tuple((p + 1) // 2 for p in total)
        plain = nn.Conv2d(conv.in_channels, conv.out_channels, size, conv.stride, padding, 1, conv.groups)  # type: ignore[arg-type]
        plain.weight, plain.bias = nn.Parameter(weight, conv.weight.requires_grad), conv.bias
        network.set_submodule(name, plain)
    return network


def is_same(module: nn.Module) -> bool:
    """Whether it is one that pads so; by its name, because timm takes a second to import."""
    return type(module).__name__ == "Conv2dSame"
