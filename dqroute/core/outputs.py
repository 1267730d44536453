"""What several experts say of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.checks import widened

UNKNOWN = torch.empty(0)  # stands where features are not known


class ExpertOutputs(NamedTuple):
    """What the experts say of a batch; only the logits have to be there.

    Attributes:
        logits: ``[K, B, C]``, one row of logits an expert.
        features: ``[K, B, D]``, what each expert's classifier reads.
    """

    logits: Tensor
    features: Tensor = UNKNOWN


def mean_logits(outputs: ExpertOutputs) -> Tensor:
    """The mean over the experts, ``[B, C]``."""
    return widened(outputs.logits).mean(dim=0)
