"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Have each convolution do what the batch norm after it does, in place: in evaluation a fixed scale and shift.

    A batch norm is taken to follow the convolution that its parent registered just before, if their channels agree.
    The activation that some networks keep in their batch norms stays where it was.
    """
    last: nn.Conv2d | None = None
    for name, child in list(module.named_children()):
        if last is not None and isinstance(child, nn.BatchNorm2d) and child.num_features == last.out_channels:
            mean, variance = child.running_mean, child.running_var
            assert mean is not None and variance is not None
            last.weight, bias = fuse_conv_bn_weights(
                last.weight, last.bias, mean, variance, child.eps, child.weight, child.bias
            )
            last.bias = bias.requires_grad_(last.weight.requires_grad)
            setattr(module, name, getattr(child, "act", nn.Identity()))
        last = child if isinstance(child, nn.Conv2d) else None
        fold_batch_norms(child)
    return module
