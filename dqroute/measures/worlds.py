"""Other worlds: how common each ring of classes is where unlabelled images come from, and predictions for there.

Where probabilities are calibrated, those of its images tell how common each ring is; three numbers re-weigh.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES

UNSURE = 0.1  # standard error of a share, beyond which it says too little to act on


class Shares(NamedTuple):
    """How common each ring of classes is in a world: ``share``, ``[J]``, summing to 1, and its standard ``error``."""

    share: Tensor
    error: Tensor

    @property
    def sure(self) -> bool:
        """Whether all shares are known to 10 points or better."""
        return bool((self.error <= UNSURE).all())

    def doubt(self, images: int) -> str:
        """What to say where they are not, told by so many images; the errors fall with the square root of these."""
        error = ", ".join(f"±{ceil(round(100 * error, 2))}" for error in self.error.tolist())
        tens = ceil(round(images * (self.error.max().item() / UNSURE) ** 2 / 10, 2))
        return (
            f"{images:,} images tell the shares of the groups to {error} points only: nothing is adapted; about "
            f"{10 * tens:,} of them would tell to ±{100 * UNSURE:.0f}, which is enough"
        )


def balanced_shares(rings: Tensor) -> Tensor:
    """The share of each ring where all classes are equally frequent, ``[J]``, of the ring of each class, ``[C]``."""
    return rings.bincount(minlength=len(GROUP_NAMES)).float() / len(rings)


def reweighed(log_p: Tensor, rings: Tensor, shares: Tensor) -> Tensor:
    """Log-probabilities ``[N, C]`` for balanced classes, for a world in which the rings have these ``shares`` instead.

    ``p'(c|x) ∝ p(c|x) π_{ring of c} / q_{ring of c}``, q the balanced shares.
    """
    return (log_p + class_shifts(rings, shares)).log_softmax(dim=1)


def class_shifts(rings: Tensor, shares: Tensor) -> Tensor:
    """What :func:`reweighed` adds to each class, ``[C]``: ``log π_{ring of c} / q_{ring of c}``."""
    # A ring without classes has no share to change.
    return (shares / balanced_shares(rings)).nan_to_num(1).log()[rings]


def agreeing_weights(one: Tensor, other: Tensor, steps: int = 300, least: float = 0.05) -> Tensor:
    """Weights of experts under which they say the same of two views of each image, ``[K]``, summing to 1.

    SADE's aggregation at test time (Zhang et al., 2022): maximise the mean over unlabelled images of the cosine of
    ``softmax(Σ_k w_k z_k)``, z ``[K, N, C]``, for one view and for the other, ``w`` a softmax; stop before one falls
    below ``least``. An expert at home in the world of these images is sure of them, whatever the view.
    """
    at = torch.zeros(len(one), device=one.device, requires_grad=True)
    optimizer, weights = torch.optim.Adam([at], lr=0.02), torch.full_like(at, 1 / len(one)).detach()
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            say = at.softmax(dim=0)
            first, second = (torch.einsum("k,knc->nc", say, view.float()).softmax(dim=1) for view in (one, other))
            (-torch.cosine_similarity(first, second, dim=1).mean()).backward()
            optimizer.step()
            found = at.detach().softmax(dim=0)
            if found.min() < least:
                break
            weights = found
    return weights


def shares_in(log_p: Tensor, rings: Tensor) -> Shares:
    """The shares of the rings in the world that unlabelled images come from, of their log-probabilities ``[N, C]``."""
    prior = balanced_shares(rings)
    held = (prior > 0).nonzero().flatten()
    sums = torch.stack([log_p[:, rings == j].logsumexp(dim=1) for j in held], dim=1)
    whole = Shares(prior.clone(), torch.zeros_like(prior))
    for values, found in zip(whole, ring_shares(sums, prior[held]), strict=True):
        values[held] = found
    return whole


def ring_shares(log_rings: Tensor, prior: Tensor, pseudo: float = 1.0, steps: int = 1000) -> Shares:
    """The shares of rings in unlabelled images, by expectation-maximisation (Saerens et al., 2002).

    ``π_j ← (Σ_i p'_ij + m q_j) / (N + m)``, ``p'_ij ∝ p(R_j | x_i) π_j / q_j``, from ``π = q``.

    Args:
        log_rings: log-probabilities ``[N, J]`` under the shares ``prior``, q, ``[J]``.
        pseudo: m, images of the prior's shares that are added, so that no ring vanishes.
    """
    if not len(log_rings):
        raise ValueError("no images were given: there is nothing to tell a world by")
    p, share = (log_rings.double() - prior.double().log()).exp(), prior.double()
    for _ in range(steps):
        posterior = p * share
        mean = (posterior / posterior.sum(dim=1, keepdim=True)).sum(dim=0)
        before, share = share, (mean + pseudo * prior) / (len(p) + pseudo)
        if (share - before).abs().max() < 1e-7:
            break
    # The observed information of the shares, within the plane in which they sum to 1.
    slope = p / (p @ share)[:, None]
    plane = torch.linalg.qr(torch.eye(len(share), dtype=torch.float64) - 1 / len(share)).Q[:, :-1]
    information = plane.T @ (slope.T @ slope) @ plane
    value, axis = torch.linalg.eigh(information)
    spread = plane @ axis
    # Where the images say nothing, a share may be anything: an error of 1.
    error = (spread.square() / value.clamp_min(1e-9)).sum(dim=1).sqrt().clamp_max(1)
    return Shares(share.float(), error.float())
