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
        ran: bool ``[K, B]``, which experts ran for which image, where some were skipped; None where all ran. Logits
            and features of an expert that did not run are zero.
    """

    logits: Tensor
    features: Tensor = UNKNOWN
    ran: Tensor | None = None

    def where_run(self, log_odds: Tensor) -> Tensor:
        """Detector log-odds ``[K, B]``, ``-inf`` for experts that did not run: then no fusion rule listens to them."""
        return log_odds if self.ran is None else log_odds.masked_fill(~self.ran, -torch.inf)


def mean_logits(outputs: ExpertOutputs) -> Tensor:
    """The mean over the experts that ran, ``[B, C]``."""
    logits = widened(outputs.logits)
    if outputs.ran is None:
        return logits.mean(dim=0)
    # The logits of an expert that did not run are zero.
    return logits.sum(dim=0) / outputs.ran.sum(dim=0)[:, None].clamp_min(1)
