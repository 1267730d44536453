"""A trained network as it predicts: batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from dqroute.models.experts import ExpertNetwork


def for_prediction(network: ExpertNetwork, bf16: bool) -> ExpertNetwork:
    """A copy that predicts the same, to rounding, in about two thirds of the time.

    In evaluation a batch norm is a fixed scale and shift, which the convolution before it can do along the way; the
    activations then pass through memory half as often.

    Args:
        network: trained; stays as it is.
        bf16: whether trunk and branches compute in bfloat16. Features and classifiers stay in float32.
    """
    # Here, because it takes a second to import and a training that never predicts does without.
    from torch.fx.experimental.optimization import fuse as fold_batch_norms

    folded = copy.deepcopy(network).eval().requires_grad_(False)
    folded.trunk = cast(nn.Sequential, fold_batch_norms(folded.trunk))
    folded.branches = nn.ModuleList(fold_batch_norms(branch) for branch in folded.branches)
    if bf16:
        for part in (folded.trunk, folded.branches):
            part.to(torch.bfloat16)
    return folded.to(memory_format=torch.channels_last)


class Folded:
    """The network folded, anew when its weights have changed.

    Whether they have is seen by the weights themselves: torch's counter of changes stands still where a fused optimizer
    or ``.data`` writes to them.
    """

    def __init__(self) -> None:
        self._from: tuple[torch.device, bool, list[Tensor]] | None = None
        self._network: ExpertNetwork | None = None

    def __call__(self, network: ExpertNetwork, bf16: bool) -> ExpertNetwork:
        state = [tensor.detach() for tensor in [*network.parameters(), *network.buffers()]]
        device = state[0].device
        if self._network is not None and self._from is not None and self._from[:2] == (device, bf16):
            before = self._from[2]
            if len(before) == len(state) and all(map(torch.equal, before, state)):
                return self._network
        self._from = device, bf16, [tensor.clone() for tensor in state]
        self._network = for_prediction(network, bf16)
        return self._network

    def __deepcopy__(self, memo: dict[int, object]) -> Folded:
        return Folded()

    def __reduce__(self) -> tuple[type[Folded], tuple[()]]:
        return Folded, ()
