"""Fusing the experts: their detectors say how much each one's prediction counts for the image at hand.

A fusion rule takes all experts' logits and detector log-odds and gives one prediction and each expert's weight in it.
Each may be called by itself, with logits of any floating type, and computes in 32 bits. An expert with
log-odds of ``-inf`` has no say. A further rule is a function under ``@rule("name")``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dqroute.core.checks import checked_range, choose, widened, without_autocast

COLDEST = 1e-9  # the lowest temperature of confidences
# Added to a logit it leaves its class no probability, and unlike -inf a row of nothing else makes no NaN.
BARRED = -1e9


class Fusion(NamedTuple):
    """One prediction from several experts.

    Attributes:
        log_probability: ``[B, C]``, normalised.
        expert_weights: ``[B, K]``, each expert's share in the prediction, not negative, summing to 1.
    """

    log_probability: Tensor
    expert_weights: Tensor


Rule = Callable[..., Fusion]
FUSIONS: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Enter a fusion rule under a name; what it is given has 32 bits, and a sound temperature."""

    def enter(function: Rule) -> Rule:
        @without_autocast
        @wraps(function)
        def fused(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float = 1.0) -> Fusion:
            z = widened(logits)
            return function(z, log_odds.to(z.dtype), members, checked_range("temperature", temperature, COLDEST))

        FUSIONS[name] = fused
        return fused

    return enter


def confidence_weights(log_odds: Tensor, temperature: float) -> Tensor:
    """Expert weights ``g_k = σ(s_k / T) / Σ_j σ(s_j / T)``, ``[B, K]``.

    By their detectors' confidences, as published; the normalisation and the temperature are our choice. T → ∞ gives all
    experts but the first, which keeps twice theirs, equal weight; T → 0 drops those whose detectors say no. Expert 1
    has all classes, hence confidence 1, so the sum is never zero.
    """
    confidence = torch.sigmoid(log_odds / temperature)
    return (confidence / confidence.sum(dim=0)).T


def equal_weights(log_odds: Tensor) -> Tensor:
    """The same weight for every expert whose log-odds are not ``-inf``, ``[B, K]``."""
    ran = (log_odds > -inf).to(log_odds.dtype)
    return (ran / ran.sum(dim=0)).T


@rule("mean")
def fuse_mean(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The plain mean of the experts' logits: the ensemble that routing has to beat."""
    weights = equal_weights(log_odds)
    return Fusion(torch.einsum("bk,kbc->bc", weights, logits).log_softmax(dim=1), weights)


@rule("logits")
def fuse_logits(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Logits weighted by confidence, a product of experts: ``z(x) = Σ_k g_k(x) z_k(x)``."""
    weights = confidence_weights(log_odds, temperature)
    return Fusion(torch.einsum("bk,kbc->bc", weights, logits).log_softmax(dim=1), weights)


@rule("probabilities")
def fuse_probabilities(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Probabilities weighted by confidence: ``p(c|x) = Σ_k g_k(x) softmax(z_k(x))_c``, a mixture of experts."""
    weights = confidence_weights(log_odds, temperature)
    log_p = logits.log_softmax(dim=2) + weights.T.log()[:, :, None]
    # Rounding may carry a sure prediction past probability 1.
    return Fusion(log_p.logsumexp(dim=0).clamp_max(0), weights)


@rule("restricted")
def fuse_restricted(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The mixture with every expert's softmax over ``S_k`` only: the literal reading of nested experts."""
    return fuse_probabilities(logits.masked_fill(~members[:, None, :], -inf), log_odds, members, temperature)


@rule("bayes")
def fuse_bayes(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """Each expert's inside and outside probabilities are rescaled to what its detector says, then logits averaged.

    Inside, ``log σ(s_k/T) + log softmax_{S_k}(z_k)``, outside, ``log σ(-s_k/T) + log softmax_{not S_k}(z_k)`` (chain
    rule; our choice). All experts weigh the same: the detectors move mass between class sets instead.
    """
    inside = members[:, None, :]
    all_classes = members.all(dim=1)[:, None, None]
    s = (log_odds / temperature)[:, :, None]
    own = logits.masked_fill(~inside, -torch.inf).log_softmax(dim=2) + logsigmoid(s)
    rest = logits.masked_fill(inside & ~all_classes, -torch.inf).log_softmax(dim=2)
    rest = rest + logsigmoid(-s.clamp(max=1e4))
    # Of an expert without a say nothing is known; its weight is zero.
    log_p = torch.where(inside, own, rest).masked_fill(s == -inf, 0)
    weights = equal_weights(log_odds)
    return Fusion(torch.einsum("bk,kbc->bc", weights, log_p).log_softmax(dim=1), weights)


@rule("nested")
def fuse_nested(logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float) -> Fusion:
    """The detectors say which ring of classes an image is of; the ring's own expert says which class of the ring.

    ``p(c|x) = (σ(s_k / T) - σ(s_{k+1} / T)) · softmax_{R_k}(z_k)_c`` for c in the ring ``R_k = S_k`` without
    ``S_{k+1}``: of all experts that have a class, the one with the fewest others answers for it, and its weight is the
    probability that the image is of its ring (our choice; next to none where detectors contradict each other). Where an
    expert has no say, the next larger one answers for its ring too.
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


def fuse(name: str, logits: Tensor, log_odds: Tensor, members: Tensor, temperature: float = 1.0) -> Fusion:
    """Fuse the experts by the rule of a name from :data:`FUSIONS`; ValueError for an unknown one.

    Args:
        logits: ``[K, B, C]``; log_odds: the detectors', ``[K, B]``; members: bool ``[K, C]``, each expert's classes.
        temperature: of the confidences, positive and finite.
    """
    choose("fusion rule", name, FUSIONS)
    return FUSIONS[name](logits, log_odds, members, temperature)
