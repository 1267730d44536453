"""A trained network as it predicts: batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from dqroute.models.encoders import Trunk
from dqroute.models.experts import ExpertNetwork
from dqroute.models.norms import fold_batch_norms


def for_prediction(network: ExpertNetwork, bf16: bool) -> ExpertNetwork:
    """A copy that predicts the same, to rounding, in about two thirds of the time.

    In evaluation a batch norm is a fixed scale and shift, which the convolution before it can do along the way; the
    activations then pass through memory half as often. With ``bf16``, trunk and branches compute in bfloat16; features
    and classifiers stay in float32.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    # In what order a pretrained network of others' calls its modules is not known here.
    if not isinstance(folded.trunk[0], Trunk):
        fold_batch_norms(folded)
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
        self._kind: tuple[torch.device, bool, int] | None = None
        self._state: list[Tensor] = []
        self._network: ExpertNetwork

    def __call__(self, network: ExpertNetwork, bf16: bool) -> ExpertNetwork:
        state = list(network.state_dict().values())
        kind = state[0].device, bf16, len(state)
        if kind != self._kind or not all(map(torch.equal, self._state, state)):
            self._kind, self._state = kind, [tensor.clone() for tensor in state]
            self._network = for_prediction(network, bf16)
        return self._network

    def __reduce__(self) -> tuple[type[Folded], tuple[()]]:
        return Folded, ()  # a copy, of the model that holds it, folds anew
