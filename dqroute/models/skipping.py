"""Sparse routing: which experts need not run for an image.

Two ways of asking: by detectors on the shared trunk, before any expert has run, and one expert after the other until
they are sure. An expert that was not asked has log-odds of ``-inf``, and no fusion rule listens to it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Protocol

import torch
from torch import Tensor

from dqroute.core.checks import checked_range


class Ask(Protocol):
    """For which images the next expert shall run."""

    def __call__(self, shared: Tensor, logits: list[Tensor], ran: list[Tensor]) -> Tensor:
        """Asked before each expert in turn.

        Args:
            shared: the pooled trunk, ``[B, D0]``.
            logits: of the experts before, ``[B, C]`` each, zero where one did not run.
            ran: for which images the experts before ran, bool ``[B]`` each.

        Returns:
            bool ``[B]``.
        """


class AskDetectors:
    """An expert runs only where its detector, on the shared trunk, takes the image for one of its own.

    Args:
        log_odds: gives the detectors' log-odds ``[K, B]`` from the pooled trunk ``[B, D0]``.
        least: the smallest probability, 0 to 1, at which an expert runs.
    """

    def __init__(self, log_odds: Callable[[Tensor], Tensor], least: float) -> None:
        self.log_odds = log_odds
        self.least = torch.tensor(checked_range("skip_below", least, 0, 1), dtype=torch.float64).logit().item()

    def __call__(self, shared: Tensor, logits: list[Tensor], ran: list[Tensor]) -> Tensor:
        return self.log_odds(shared)[len(ran)] >= self.least


class AskUntilSure:
    """Experts run one after the other until the plain mean of those that ran is sure of a class.

    Sure is a mean that gives its class several times the probability of the runner-up: then a further expert seldom
    turns it. Asking one after the other is RIDE's way (Wang et al., 2021), with a threshold in the place of a trained
    router; to look at the runner-up and not at the probability alone is our choice: at equal work it loses less.

    Args:
        times: from 1; so many times as probable as the runner-up is sure.
    """

    def __init__(self, times: float) -> None:
        self.margin = log(checked_range("sure_at", times, 1))

    def __call__(self, shared: Tensor, logits: list[Tensor], ran: list[Tensor]) -> Tensor:
        if not ran:
            return torch.ones(len(shared), dtype=torch.bool, device=shared.device)
        mean = torch.stack(logits).sum(dim=0) / torch.stack(ran).sum(dim=0)[:, None]
        first, second = mean.topk(2, dim=1).values.unbind(dim=1)
        return first - second < self.margin
