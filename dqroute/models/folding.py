"""A trained network as it predicts: batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse as fold_batch_norms

from dqroute.models.experts import ExpertNetwork


def for_prediction(network: ExpertNetwork, bf16: bool) -> ExpertNetwork:
    """A copy that predicts the same, to rounding, in about two thirds of the time.

    In evaluation a batch norm is a fixed scale and shift, which the convolution before it can do along the way; the
    activations then pass through memory half as often.

    Args:
        network: trained; stays as it is.
        bf16: whether trunk and branches compute in bfloat16. Features and classifiers stay in float32.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    folded.trunk = cast(nn.Sequential, fold_batch_norms(folded.trunk))
    folded.branches = nn.ModuleList(fold_batch_norms(branch) for branch in folded.branches)
    if bf16:
        for part in (folded.trunk, folded.branches):
            part.to(torch.bfloat16)
    return folded.to(memory_format=torch.channels_last)


def state_of(network: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes whenever a parameter or buffer is replaced or written to."""
    return tuple((tensor.data_ptr(), tensor._version) for tensor in [*network.parameters(), *network.buffers()])
