"""The losses of the baselines, and the weights and priors of classes, each a function with its formula.

Logits may be of any floating type: the losses compute in 32 bits. DQRoute's own is :mod:`dqroute.core.joint_loss`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.checks import widened


def log_prior(counts: Tensor) -> Tensor:
    """``log π_c = log(n_c / Σ n)``, ``[C]``: how likely each class is in training."""
    n = counts.float()
    return (n / n.sum()).log()


def logit_adjusted(
    logits: Tensor, labels: Tensor, log_pi: Tensor, tau: float = 1.0, class_weights: Tensor | None = None
) -> Tensor:
    """Logit-adjusted cross-entropy: ``mean_b w_y · CE(z + τ log π, y)`` (Menon et al., 2021).

    The plain logits then predict for balanced classes. At τ = 1 it is the balanced softmax (Ren et al., 2020). Of
    logits ``[B, C]``, labels ``[B]``, ``log_pi`` ``[C]``, and ``class_weights``, ``[C]`` or None for 1.
    """
    losses = F.cross_entropy(widened(logits) + tau * log_pi, labels, reduction="none")
    return (losses if class_weights is None else losses * class_weights[labels]).mean()


def geometric_mean(logits: Tensor, labels: Tensor, log_pi: Tensor, tau: float = 1.0) -> Tensor:
    """The geometric-mean loss for the worst classes: ``-mean_c log p̄_c`` (Du and Wu, 2023).

    ``p̄_c`` is the mean over the batch's images of class c of ``softmax(z + τ log π)_c``; classes without an image in
    the batch are left out. Where cross-entropy asks every image, this asks every class, the worst one most. Of logits
    ``[B, C]``, labels ``[B]`` and ``log_pi`` ``[C]``.
    """
    log_p = (widened(logits) + tau * log_pi).log_softmax(dim=1)
    own = F.one_hot(labels, logits.shape[1]).bool()
    # Finite, because a class without an image would otherwise have a gradient of NaN.
    sums, images = log_p.masked_fill(~own, -1e9).logsumexp(dim=0), own.sum(dim=0)
    there = images > 0
    return torch.where(there, images.clamp_min(1).log() - sums, 0).sum() / there.sum()


def ldam_margins(counts: Tensor, largest: float = 0.5) -> Tensor:
    """Margins ``Δ_c ∝ n_c^{-1/4}``, the largest being ``largest`` (Cao et al., 2019), ``[C]``."""
    margins = counts.float() ** -0.25
    return margins * (largest / margins.max())


def ldam(logits: Tensor, labels: Tensor, margins: Tensor, scale: float, class_weights: Tensor | None = None) -> Tensor:
    """Label-distribution-aware margin loss: cross-entropy after taking ``s Δ_y`` off the true logit (Cao et al., 2019).

    Args:
        logits: ``s · cos``, ``[B, C]``, from a cosine classifier of scale ``s``; the margin lives on the cosine.
        labels: ``[B]``; margins: ``[C]``; class_weights: ``[C]`` or None; their sum in the batch divides the loss.
    """
    logits = widened(logits)
    margin = torch.zeros_like(logits).scatter_(1, labels[:, None], scale * margins[labels][:, None])
    return F.cross_entropy(logits - margin, labels, weight=class_weights)


def inverse_softmax(logits: Tensor, labels: Tensor, log_pi: Tensor, tau: float = 2.0) -> Tensor:
    """SADE's third expert, for an inverse world: ``CE(z + log π - τ log π̄, y)`` (Zhang et al., 2022).

    ``π̄`` is the prior upside down: the rarest class has the largest share, the second rarest the second largest.
    """
    order = log_pi.argsort()
    inverse = torch.empty_like(log_pi)
    inverse[order] = log_pi[order.flip(0)]
    return F.cross_entropy(widened(logits) + log_pi - tau * inverse, labels)


def diversity(logits: Tensor) -> Tensor:
    """How far experts, ``[K, B, C]``, are from their mean: ``Σ_k mean_b KL(p̄ || p_k)``, ``p̄ = softmax(mean_k z_k)``.

    To be subtracted from the loss, so that experts are paid for disagreeing, as RIDE's code has it (Wang et al., 2021;
    there with weight 0.2). The mean is held fixed: the gradient moves each expert away from it, and not it.
    """
    logits = widened(logits)
    log_mean = logits.detach().mean(dim=0).log_softmax(dim=1)
    return (log_mean.exp() * (log_mean - logits.log_softmax(dim=2))).sum(dim=2).mean(dim=1).sum()


def expert_focus(counts: Tensor, members: Tensor, outsiders: float) -> Tensor:
    """What an image of each class counts for each expert: ``v_kc ∝ 1`` inside ``S_k``, ``o`` outside, ``[K, C]``.

    Scaled to a mean of 1 over the training images for every expert, so that all learn at the same rate. Of counts
    ``[C]``, the sets ``S_k`` as ``members``, bool ``[K, C]``, and ``outsiders``, o, 0 to 1.
    """
    return mean_one(torch.where(members, 1.0, outsiders), counts)


def rarity_focus(counts: Tensor, rarity: float) -> Tensor:
    """What an image of each class counts by rarity alone, ``[C]``: ``v_c ∝ n_c^-q``, q 0 to 1 (classes count alike)."""
    return mean_one(counts.double() ** -rarity, counts)


def mean_one(v: Tensor, counts: Tensor) -> Tensor:
    """Weights of images by class, ``[..., C]``, scaled to a mean of 1 over training images of these counts, ``[C]``."""
    v, n = v.double(), counts.double()
    return (v * n.sum() / (v @ n)[..., None]).float()


def expert_priors(log_pi: Tensor, focus: Tensor) -> Tensor:
    """The prior that each expert learns under: ``log π_kc``, ``π_kc ∝ π_c v_kc``, ``[K, C]``.

    Adding it while training leaves the logits those of balanced classes. Where ``v_kc``, ``focus`` ``[K, C]``, is 0 the
    class is left out of the expert's softmax (``-inf``).
    """
    return (log_pi + focus.log()).log_softmax(dim=1)
