"""Activations computed along with the convolutions before them, in one pass over memory instead of two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# As the processor's library calls them, and what it wants to know of them.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
}
# None where torch was built without that library, or no longer names the call so: it is a private one.
THERE = torch.backends.mkldnn.is_available()
AT_ONCE: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if THERE else None


def activate_along_the_way(module: nn.Module) -> nn.Module:
    """Have each convolution do the activation that its parent registered just after it, in place."""
    last, conv = "", None
    for name, child in list(module.named_children()):
        if conv is not None and type(child) in ACTIVATIONS and AT_ONCE:
            setattr(module, last, Activated(conv, child))
            setattr(module, name, nn.Identity())
        elif not isinstance(child, (nn.Identity, Activated)):  # a block may be at two places
            last, conv = name, child if isinstance(child, nn.Conv2d) and child.padding_mode == "zeros" else None
            activate_along_the_way(child)
    return module


def has_activations(network: nn.Module) -> bool:
    """Whether a network has a convolution, and an activation that one could do along the way."""
    kinds = {type(module) for module in network.modules()}
    return nn.Conv2d in kinds and not kinds.isdisjoint(ACTIVATIONS)


class Activated(nn.Module):
    """A convolution and its activation: at once where a processor only predicts, else one after the other."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.kind, self.numbers = ACTIVATIONS[type(activation)]

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of features, ``[B, D, height, width]``, of maps ``[B, channels, height, width]``."""
        conv, elsewhere = self.conv, maps.device.type != "cpu" or torch.compiler.is_compiling()
        if elsewhere or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or isinstance(conv.padding, str):
            found: Tensor = self.activation(conv(maps))
        else:
            how = conv.padding, conv.stride, conv.dilation, conv.groups, self.kind, self.numbers, ""
            found = AT_ONCE(maps, conv.weight, conv.bias, *how)
        return found
