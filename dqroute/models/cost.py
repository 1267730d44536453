"""What a network costs: operations of a forward pass."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def operations(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of the forward pass of one float image ``[1, *shape]``, a multiply-add being two, by torch's count."""
    # Here, because it takes longer to import than all else together.
    from torch.utils.flop_counter import FlopCounterMode

    was_training = network.training
    network.eval()  # an image alone would spoil the statistics of the batch norms
    try:
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    finally:
        network.train(was_training)
    return counter.get_total_flops()
