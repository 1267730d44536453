"""Fusing the experts: their detectors say how much each one's prediction counts for the image at hand.

There is no central router. A fusion rule takes all experts' logits and detector log-odds and gives one
prediction and the weight each expert had in it. Further rules are one function and one line in :data:`FUSIONS`.

Sparse routing skips experts: an expert that was not asked does not run, its log-odds become ``-inf``, and every rule
gives it no say. Two ways of asking: by detectors on the shared trunk, before any expert has run, and one expert after
the other until they are sure.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor

from dqroute.core.checks import checked_range, choose

# Added to a logit it leaves its class no probability, and unlike -inf a row of nothing else makes no NaN.
BARRED = -1e9
# How much the plain mean counts within a ring when the ring's own expert is advised by the others.
ADVICE = 0.5


class Fusion(NamedTuple):
    """One prediction from several experts.

    Attributes:
        log_probability: ``[B, C]``, normalised.
        expert_weights: ``[B, K]``, each expert's share in the prediction, not negative, summing to 1.
    """

    log_probability: Tensor
    expert_weights: Tensor


def confidence_weights(log_odds: Tensor, temperature: float) -> Tensor:
    """Expert weights ``g_k = σ(s_k / T) / Σ_j σ(s_j / T)``, ``[B, K]``.

    The published rule weighs experts by their detectors' confidences; the normalisation and the temperature are
    our choice. T → ∞ gives equal weight to every expert but the first, which keeps twice theirs; T → 0 drops
    every expert whose detector says no. Expert 1 has all classes, hence confidence 1, so the sum is never zero.

    Args:
        log_odds: ``s_k``, ``[K, B]``; ``+inf`` for an expert that has all classes.
        temperature: T, positive.
    """
    confidence = torch.sigmoid(log_odds / temperature)
    return (confidence / confidence.sum(dim=0)).T


def equal_weights(log_odds: Tensor) -> Tensor:
    """The same weight for every expert that ran, ``[B, K]``; log-odds of ``-inf`` mean that it was skipped."""
    ran = (log_odds > -inf).float()
    return (ran / ran.sum(dim=0)).T


def fuse_mean(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The plain mean of the experts' logits: the ensemble that routing has to beat."""
    weights = equal_weights(log_odds)
    return Fusion(torch.einsum("bk,kbc->bc", weights, logits).log_softmax(dim=1), weights)


def fuse_logits(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Logits weighted by confidence: ``z(x) = Σ_k g_k(x) z_k(x)``, a product of experts."""
    weights = confidence_weights(log_odds, temperature)
    return Fusion(torch.einsum("bk,kbc->bc", weights, logits).log_softmax(dim=1), weights)


def fuse_probabilities(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Probabilities weighted by confidence: ``p(c|x) = Σ_k g_k(x) softmax(z_k(x))_c``, a mixture of experts."""
    weights = confidence_weights(log_odds, temperature)
    return Fusion(mixture(logits.log_softmax(dim=2), weights), weights)


def fuse_restricted(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The mixture with every expert restricted to its own classes, ``softmax`` over ``S_k`` only.

    The literal reading of nested experts: expert k says nothing about classes outside ``S_k``.
    """
    weights = confidence_weights(log_odds, temperature)
    own = logits.masked_fill(~members[:, None, :], -torch.inf)
    return Fusion(mixture(own.log_softmax(dim=2), weights), weights)


def fuse_bayes(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Each expert's inside and outside probabilities are rescaled to what its detector says, then logits averaged.

    Expert k's detector replaces the expert's own odds of ``S_k``: inside, ``log σ(s_k/T) + log softmax_{S_k}(z_k)``,
    outside, ``log σ(-s_k/T) + log softmax_{not S_k}(z_k)`` (chain rule of probability; our choice). An expert with
    all classes stays as it is. All experts weigh the same: the detectors move mass between class sets instead.
    """
    inside = members[:, None, :]
    all_classes = members.all(dim=1)[:, None, None]
    s = (log_odds / temperature)[:, :, None]
    own = logits.masked_fill(~inside, -torch.inf).log_softmax(dim=2) + torch.nn.functional.logsigmoid(s)
    rest = logits.masked_fill(inside & ~all_classes, -torch.inf).log_softmax(dim=2)
    rest = rest + torch.nn.functional.logsigmoid(-s.clamp(max=1e4))
    # Of a skipped expert nothing is known; its weight is zero.
    log_p = torch.where(inside, own, rest).masked_fill(s == -inf, 0)
    weights = equal_weights(log_odds)
    return Fusion(torch.einsum("bk,kbc->bc", weights, log_p).log_softmax(dim=1), weights)


def fuse_nested(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The detectors say which ring of classes an image is of; the ring's own expert says which class of the ring.

    ``p(c|x) = (σ(s_k / T) - σ(s_{k+1} / T)) · softmax_{R_k}(z_k)_c`` for c in the ring ``R_k = S_k`` without
    ``S_{k+1}``: of all experts that have a class, the one with the fewest other classes answers for it, and its weight
    is the probability that the image is of its ring. Our choice: nested sets leave one probability to each ring (where
    detectors contradict each other and the difference is negative, next to none). Where an expert was skipped, the next
    larger one answers for its ring too.
    """
    inside, ran = torch.sigmoid(log_odds / temperature), log_odds > -inf
    taken, within = torch.zeros_like(logits[0]), torch.zeros_like(inside[0])
    log_p = torch.full_like(logits[0], BARRED)
    masses: list[Tensor] = []
    for z, p, mine, asked in reversed(list(zip(logits, inside, members, ran, strict=True))):
        # Adding BARRED takes a sixth of the time of a mask, which counts with thousands of classes.
        others, idle = torch.where(mine, 0, BARRED), torch.where(asked, 0, BARRED)[:, None]
        ring = taken + others + idle
        taken = torch.minimum(taken, torch.maximum(BARRED - others, BARRED - idle))
        # An empty ring answers nothing: its row has no class that is not barred.
        mass = (p - within).clamp_min(torch.finfo(p.dtype).eps) * (asked & (ring.amax(dim=1) == 0))
        answer = (z + ring).log_softmax(dim=1) + mass.log()[:, None]
        log_p = torch.maximum(log_p, answer)
        masses.insert(0, mass)
        within = torch.where(asked, torch.maximum(p, within), within)
    weights = torch.stack(masses, dim=1)
    return Fusion(log_p.log_softmax(dim=1), weights / weights.sum(dim=1, keepdim=True))


def fuse_advised(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Rings as in :func:`fuse_nested`, where the ring's own expert listens to the others before it answers.

    Within the ring ``R_k`` the classes compete by ``½ z_k + ½ z̄``, ``z̄`` the plain mean of the experts that ran: half
    way from the plain mean to rings that are each expert's alone (our choice). An expert's weight is the mean of both.
    """
    equal = equal_weights(log_odds)
    mean = torch.einsum("bk,kbc->bc", equal, logits)
    rings = fuse_nested(torch.lerp(logits, mean, ADVICE), log_odds, members, temperature)
    return Fusion(rings.log_probability, torch.lerp(rings.expert_weights, equal, ADVICE))


def mixture(log_probability: Tensor, weights: Tensor) -> Tensor:
    """``log Σ_k g_k p_k`` for ``[K, B, C]`` log-probabilities and ``[B, K]`` weights."""
    # Rounding may carry a sure prediction past probability 1.
    return (log_probability + weights.T.log()[:, :, None]).logsumexp(dim=0).clamp_max(0)


FUSIONS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Fusion]] = {
    "mean": fuse_mean,
    "logits": fuse_logits,
    "probabilities": fuse_probabilities,
    "restricted": fuse_restricted,
    "bayes": fuse_bayes,
    "nested": fuse_nested,
    "advised": fuse_advised,
}


def fuse(rule: str, logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float = 1.0) -> Fusion:
    """Fuse the experts by the rule of that name.

    Args:
        rule: a name from :data:`FUSIONS`.
        logits: ``[K, B, C]``.
        log_odds: the detectors', ``[K, B]``.
        members: bool ``[K, C]``, the classes of each expert.
        temperature: of the confidences, positive.

    Raises:
        ValueError: for an unknown rule or a temperature that is not positive and finite.
    """
    choose("fusion rule", rule, FUSIONS)
    return FUSIONS[rule](logits, log_odds, members, checked_temperature(temperature))


def checked_temperature(temperature: float) -> float:
    """The temperature; ValueError unless it is positive and finite."""
    if not 0 < temperature < inf:
        raise ValueError(f"the fusion temperature must be positive and finite; got {temperature}")
    return temperature


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
