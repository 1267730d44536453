"""What a run says of its training images out of fold, read back from its folder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.outputs import ExpertOutputs
from dqroute.runs.run import Run


class Fused(NamedTuple):
    """Training images as heads see them that were not trained on them.

    Attributes:
        outputs: what the experts say; log_p: log-probabilities ``[N, C]`` as :func:`dqroute.classify` has them, for
            balanced classes. What fuses the experts, some numbers, was fitted on these same images.
        labels: int64 ``[N]``; images: int64 ``[N]``, their numbers in the training split.
    """

    outputs: ExpertOutputs
    log_p: Tensor
    labels: Tensor
    images: Tensor


@torch.no_grad()
def fused(run: Run) -> Fused:
    """What training left behind of them, fused as the run does now; ValueError if it left nothing."""
    kept = run.judged
    outputs = ExpertOutputs(kept["logits"].to(run.model.mean.device))
    with run.model.unadapted():
        log_p = run.model.fuse(outputs).log_probability.cpu()
    return Fused(ExpertOutputs(outputs.logits.cpu()), log_p, kept["labels"], kept["images"])
