"""The operating point of any method, found on predictions for images that it was not trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from dqroute.core.checks import widened, without_autocast
from dqroute.core.judging import balanced_weights, minimised
from dqroute.core.routing import BARRED


class Calibration(nn.Module):
    """One temperature and one shift a ring of classes: the operating point of any method, found without a test set.

    ``p(c|x) = softmax(z(x) / T + b_{ring of c})_c``, T and b fitted by class-balanced NLL. Unfitted it changes nothing.

    Args:
        rings: int64 ``[C]``, the ring of each class, 0 to ``J - 1``.
    """

    def __init__(self, rings: Tensor) -> None:
        super().__init__()
        self.rings = nn.Buffer(rings)
        self.scale = nn.Buffer(torch.ones(()))
        self.shifts = nn.Buffer(torch.zeros(int(rings.max()) + 1))

    @without_autocast
    def forward(self, logits: Tensor) -> Tensor:
        """Log-probabilities ``[B, C]`` of logits ``[B, C]``."""
        return (widened(logits) * self.scale + self.shifts[self.rings]).log_softmax(dim=1)

    @torch.no_grad()
    def fit(self, logits: Tensor, labels: Tensor, shrink: float = 1e-3) -> None:
        """From logits ``[N, C]`` of images that those who speak were not trained on; ``shrink`` ties b to 0."""
        weights, z = balanced_weights(labels, logits.shape[1]), among(widened(logits), labels)

        def loss(at: Tensor) -> Tensor:
            at = at.to(z.dtype)
            log_p = (z * at[0].exp() + at[1:][self.rings]).log_softmax(dim=1)
            nll = nll_loss(log_p, labels, reduction="none").double()
            return weights @ nll + shrink * at[1:].square().sum().double()

        at = minimised(loss, torch.zeros(1 + len(self.shifts), device=z.device))
        self.scale.copy_(at[0].exp())
        # A ring of which nothing was judged stays where it was.
        judged = torch.zeros(len(self.shifts), dtype=torch.bool).index_fill_(0, self.rings[labels].cpu(), True)
        self.shifts.copy_(torch.where(judged.to(at.device), at[1:] - at[1:][judged.to(at.device)].mean(), 0))


def among(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits ``[..., N, C]`` with the classes that no label names left out of the softmax.

    Nothing can be said of them, and they would be fitted away: none of their images is there to ask for them.
    """
    absent = torch.ones(logits.shape[-1], dtype=torch.bool, device=logits.device).index_fill_(0, labels, False)
    return logits.masked_fill(absent, BARRED)
