"""The joint DQRoute loss, and the losses of the baselines, each a function with its formula."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.detectors import DetectorBank
from dqroute.models.experts import ExpertOutputs


def log_prior(counts: Tensor) -> Tensor:
    """``log π_c = log(n_c / Σ n)``, ``[C]``: how likely each class is in training."""
    n = counts.float()
    return (n / n.sum()).log()


def logit_adjusted(
    logits: Tensor, labels: Tensor, log_pi: Tensor, tau: float = 1.0, class_weights: Tensor | None = None
) -> Tensor:
    """Logit-adjusted cross-entropy: ``mean_b w_y · CE(z + τ log π, y)`` (Menon et al., 2021).

    The prior of the training set is added while training, so the plain logits predict for balanced classes. At
    τ = 1 it is the balanced softmax (Ren et al., 2020).

    Args:
        logits: ``[B, C]``; labels: ``[B]``; log_pi: ``[C]``; class_weights: ``[C]`` or None for 1.
    """
    losses = F.cross_entropy(logits + tau * log_pi, labels, reduction="none")
    return (losses if class_weights is None else losses * class_weights[labels]).mean()


def ldam_margins(counts: Tensor, largest: float = 0.5) -> Tensor:
    """Margins ``Δ_c ∝ n_c^{-1/4}``, the largest being ``largest`` (Cao et al., 2019), ``[C]``."""
    margins = counts.float() ** -0.25
    return margins * (largest / margins.max())


def ldam(logits: Tensor, labels: Tensor, margins: Tensor, scale: float, class_weights: Tensor | None = None) -> Tensor:
    """Label-distribution-aware margin loss: cross-entropy after taking ``s Δ_y`` off the true logit (Cao et al., 2019).

    Args:
        logits: ``s · cos``, ``[B, C]``, from a cosine classifier of scale ``s``; the margin lives on the cosine.
        labels: ``[B]``; margins: ``[C]``; class_weights: ``[C]`` or None. Weighted losses are divided by the
            weights' sum in the batch, as the authors do.
    """
    margin = torch.zeros_like(logits).scatter_(1, labels[:, None], scale * margins[labels][:, None])
    return F.cross_entropy(logits - margin, labels, weight=class_weights)


def inverse_softmax(logits: Tensor, labels: Tensor, log_pi: Tensor, tau: float = 2.0) -> Tensor:
    """SADE's third expert: ``CE(z + log π - τ log π̄, y)``, ``π̄`` the prior turned upside down (Zhang et al., 2022).

    ``π̄`` gives the rarest class the largest share, the second rarest the second largest, and so on, so that the
    plain logits predict for an inversely long-tailed world.
    """
    order = log_pi.argsort()
    inverse = torch.empty_like(log_pi)
    inverse[order] = log_pi[order.flip(0)]
    return F.cross_entropy(logits + log_pi - tau * inverse, labels)


def diversity(logits: Tensor) -> Tensor:
    """How far the experts disagree: ``Σ_k mean_b KL(p_k || p̄)``, ``p̄`` the mean of the experts' probabilities.

    To be subtracted from the loss, so that experts are paid for disagreeing, as in RIDE (Wang et al., 2021). RIDE
    takes KL between pairs of experts, which has no upper bound; against their mean a term never exceeds ``log K``, and
    the training cannot run away with it (our choice).

    Args:
        logits: ``[K, B, C]``.
    """
    log_p = logits.log_softmax(dim=2)
    log_mean = log_p.logsumexp(dim=0) - math.log(len(logits))
    return (log_p.exp() * (log_p - log_mean)).sum(dim=2).mean(dim=1).sum()


def expert_focus(counts: Tensor, members: Tensor, outsiders: float) -> Tensor:
    """What an image of each class counts for each expert: ``v_kc ∝ 1`` inside ``S_k``, ``o`` outside, ``[K, C]``.

    Scaled so that the mean over the training images is 1 for every expert, so that all learn at the same rate: with few
    images of its own an expert takes each of them the more seriously.

    Args:
        counts: ``[C]``; members: bool ``[K, C]``, the sets ``S_k``; outsiders: o, 0 to 1.
    """
    return mean_one(torch.where(members, 1.0, outsiders), counts)


def rarity_focus(counts: Tensor, rarity: float) -> Tensor:
    """What an image of each class counts by rarity alone: ``v_c ∝ n_c^-q``, mean 1 over the training images, ``[C]``.

    Args:
        counts: ``n_c``, ``[C]``; rarity: q, 0 (all images alike) to 1 (all classes alike).
    """
    return mean_one(counts.double() ** -rarity, counts)


def mean_one(v: Tensor, counts: Tensor) -> Tensor:
    """Weights of images by class, ``[..., C]``, scaled to a mean of 1 over training images of these counts, ``[C]``."""
    v, n = v.double(), counts.double()
    return (v * n.sum() / (v @ n)[..., None]).float()


def expert_priors(log_pi: Tensor, focus: Tensor) -> Tensor:
    """The prior that each expert learns under: ``log π_kc``, ``π_kc ∝ π_c v_kc``, ``[K, C]``.

    An expert that counts an image of class c with weight ``v_kc`` sees the classes as often as ``π_c v_kc`` says;
    adding the logarithm while training leaves its plain logits those of balanced classes. Where ``v_kc`` is 0 the class
    is left out of the expert's softmax (``-inf``).

    Args:
        log_pi: ``[C]``; focus: ``v``, ``[K, C]``, not negative.
    """
    return (log_pi + focus.log()).log_softmax(dim=1)


def dqroute(
    outputs: ExpertOutputs,
    labels: Tensor,
    detectors: DetectorBank,
    log_priors: Tensor,
    focus: Tensor,
    class_weights: Tensor,
    image_weights: Tensor,
    tau: float,
    detector_weight: float,
) -> Tensor:
    """The joint loss: every expert's classification and every detector, in one sum, end to end.

    ``L = Σ_k mean_b v_{k,y_b} w̄_{y_b} CE(z_k + τ log π_k, y_b) + μ · Σ_k mean_b u_{y_b} BCE(σ(s_k), [y_b ∈ S_k])``

    The second sum is over the experts that have a detector, ``u_c ∝ 1 / n_c``.

    ``v_kc`` is larger for the expert's own classes ``S_k`` than outside: what makes the experts differ. At 0 outside,
    an expert's softmax runs over ``S_k`` only and learns from the images of ``S_k`` only, the literal reading; with one
    value throughout all experts learn alike and are nested through their detectors alone.

    The paper trains experts and detectors jointly; the terms' form and weights are our choice. A sum over experts,
    not a mean: each expert then learns as fast as it would alone, and weight decay weighs on it no more. Each is
    divided by the whole batch, also where some of it does not count.

    Args:
        outputs: of the network; labels: ``[B]``.
        detectors: the experts' detectors.
        log_priors: ``[K, C]``, see :func:`expert_priors`; focus: ``v``, see :func:`expert_focus`.
        class_weights: ``w̄``, ``[C]``; image_weights: ``u``, ``[C]``, of the detectors' loss.
        tau: τ, strength of the prior in the classification terms; 0 is plain cross-entropy.
        detector_weight: μ.
    """
    terms, each = [], outputs.logits.unbind()
    for logits, log_prior_k, v in zip(each, log_priors, focus, strict=True):
        left_out = v == 0
        # The -inf set apart, because τ = 0 would make NaN of it; on [C], because a pass over [B, C] costs.
        adjusted = logits + (tau * log_prior_k.masked_fill(left_out, 0)).masked_fill(left_out, -torch.inf)
        # An image of a class left out has no logit of its own here; any other stands in, and its weight of 0 drops it.
        target = torch.where(left_out[labels], v.argmax(), labels)
        losses = F.cross_entropy(adjusted, target, reduction="none")
        terms.append((losses * (v * class_weights)[labels]).mean())
    detection = detectors.loss(detectors.learns(outputs, each), labels, image_weights)
    return torch.stack(terms).sum() + detector_weight * detection
