"""How hard each class proves to be, and the class weights that follow from it.

Rare is not the same as hard. The tracker keeps two numbers a class: how undecided predictions are (entropy) and how
often they are right (accuracy, smoothed over epochs). From these come a difficulty, a difficulty weight, and, together
with a frequency prior, the class weight that multiplies the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dqroute.core.checks import checked_range, choose, widened, without_autocast


def class_difficulty(entropy: Tensor, accuracy: Tensor, lam: float) -> Tensor:
    """Difficulty of each class: ``d_c = H_c / H_max + λ (1 - A_c / A_max)`` (DQRoute), ``[C]``, 0 to 1 + λ.

    A maximum of zero (no class undecided, or none ever right) makes its ratio 0.

    Args:
        entropy: ``H_c``, class means of prediction entropy ``-Σ_j p_j log p_j`` in nats, ``[C]``.
        accuracy: ``A_c``, shares of images that are predicted rightly, smoothed over epochs, ``[C]``.
        lam: λ, what a lack of accuracy counts beside entropy, not negative.
    """
    undecided, right = (
        values / values.max().clamp_min(torch.finfo(values.dtype).tiny) for values in (entropy, accuracy)
    )
    return undecided + lam * (1 - right)


def update_difficulty_weights(weights: Tensor, difficulty: Tensor, gamma: float, memory: float) -> Tensor:
    """One epoch's update of the difficulty weights: ``w_c ← w_c^ρ exp(γ d_c) / Σ_j w_j^ρ exp(γ d_j)``.

    Memory ``ρ = 1`` is the published update. It accumulates: after E epochs ``w_c ∝ exp(γ Σ_t d_c)``, which collapses
    onto the hardest classes. With ``ρ < 1`` (our choice) log-weights never spread further than ``γ / (1 - ρ)`` times
    the spread of the difficulties; ``ρ = 0`` keeps no history.

    Of ``weights`` ``[C]``, positive and summing to 1, as those returned are, in float64; ``difficulty`` ``[C]``;
    ``gamma``, γ, not negative; ``memory``, ρ, 0 to 1.
    """
    return torch.softmax(memory * log(weights) + gamma * difficulty.double(), dim=0)


def log(weights: Tensor) -> Tensor:
    """Logarithms of weights, in float64.

    A product over hundreds of epochs leaves the range of float32: a class would reach an exact zero there, and no later
    difficulty could bring it back.
    """
    return weights.double().clamp_min(torch.finfo(torch.float64).tiny).log()


def frequency_prior(counts: Tensor, kind: str = "inverse", beta: float = 0.9999) -> Tensor:
    """Weights by rarity alone, summing to 1, of counts ``[C]``.

    ``"inverse"``: ``∝ 1 / n_c``. ``"effective"``: ``∝ (1 - β) / (1 - β^n_c)``, β in [0, 1), one over the effective
    number of images (Cui et al., 2019).
    """
    n = counts.double()
    choose("frequency prior", kind, ("inverse", "effective"))
    if checked_range("beta", beta, 0, 1) == 1:
        raise ValueError("beta of the effective number must lie in [0, 1)")
    prior = 1 / n if kind == "inverse" else (1 - beta) / (1 - beta**n)
    return (prior / prior.sum()).float()


def combine_weights(difficulty_weights: Tensor, prior: Tensor, alpha: float, strength: float = 1.0) -> Tensor:
    """The class weights of the loss: ``w̄_c ∝ w_c^{αs} · f_c^{(1-α)s}``, with mean 1.

    The texts we had name a unified weighting, not its formula. Our choice is the geometric mean: both are products by
    nature, and the dial acts evenly on ratios. At α = 0 the frequency prior alone, at α = 1 the difficulty alone; the
    strength ``s`` tempers both. The mean over training images is below 1 (0.69 at an imbalance of 100, equal
    difficulties, α = s = ½), and the loss shrinks with it. Of ``difficulty_weights`` and ``prior``, ``[C]``, positive;
    ``alpha``, 0 to 1; ``strength``, not negative: 0 makes all weights 1.
    """
    weights = torch.softmax(strength * (alpha * log(difficulty_weights) + (1 - alpha) * log(prior)), dim=0)
    return (weights * len(weights)).float()


class DifficultyTracker(nn.Module):
    """Gathers entropy and accuracy by class over an epoch, and turns them into difficulty weights at its end.

    Args:
        num_classes: ``C``; lam, gamma, memory: λ, γ and ρ of the formulas above.
        smoothing: η, share of the old value kept in ``A_c ← η A_c + (1 - η) · accuracy``, 0 to 0.999.

    All state is in buffers, so a checkpoint of the module resumes the tracker. A class without an image in an
    epoch keeps its old values.
    """

    def __init__(
        self, num_classes: int, lam: float = 1.0, gamma: float = 1.0, smoothing: float = 0.7, memory: float = 0.5
    ) -> None:
        super().__init__()
        self.lam, self.gamma = checked_range("lam", lam, 0, 1000), checked_range("gamma", gamma, 0, 1000)
        self.memory = checked_range("memory", memory, 0, 1)
        self.smoothing = checked_range("smoothing", smoothing, 0, 0.999)  # at 1 no accuracy would ever count
        zeros = [torch.zeros(num_classes) for _ in range(7)]
        self.entropy, self.accuracy, self.difficulty, self.seen = map(nn.Buffer, zeros[:4])
        self.entropy_sum, self.correct_sum, self.image_count = map(nn.Buffer, zeros[4:])
        self.weights = nn.Buffer(torch.full((num_classes,), 1 / num_classes, dtype=torch.float64))

    @torch.no_grad()
    @without_autocast
    def observe(self, log_probability: Tensor, labels: Tensor) -> None:
        """Count one batch: log-probabilities ``[B, C]`` as the model predicts, labels ``[B]``."""
        # In 16 bits a small probability may have become zero, its logarithm -inf; p log p is 0 there.
        log_p = widened(log_probability)
        if log_p.shape != (len(labels), len(self.weights)):
            raise ValueError(f"log-probabilities are [{len(labels)}, {len(self.weights)}]; got {list(log_p.shape)}")
        log_p = log_p.clamp_min(torch.finfo(log_p.dtype).min)
        best = log_p.max(dim=1).indices
        # The softmax of log-probabilities is their exp, in a third of its time.
        entropy = -torch.linalg.vecdot(log_p.softmax(dim=1), log_p).to(self.entropy_sum.dtype)
        self.entropy_sum.index_add_(0, labels, entropy)
        self.correct_sum.index_add_(0, labels, (best == labels).to(self.correct_sum.dtype))
        self.image_count.index_add_(0, labels, torch.ones_like(labels, dtype=self.image_count.dtype))

    @torch.no_grad()
    def end_epoch(self, told: Tensor | None = None) -> None:
        """Fold the epoch's counts into the class difficulties and the difficulty weights.

        ``told`` is the difficulty of each class, ``[C]``, where it is known from elsewhere: it counts instead.
        """
        now = self.image_count > 0
        images = self.image_count.clamp_min(1)
        accuracy = self.correct_sum / images
        smoothed = self.smoothing * self.accuracy + (1 - self.smoothing) * accuracy
        # The first observation starts the average: from zero it would call every class hard at first.
        smoothed = torch.where(self.seen > 0, smoothed, accuracy)
        self.accuracy.copy_(torch.where(now, smoothed, self.accuracy))
        self.entropy.copy_(torch.where(now, self.entropy_sum / images, self.entropy))
        self.seen.add_(now.float())
        self.difficulty.copy_(class_difficulty(self.entropy, self.accuracy, self.lam) if told is None else told)
        self.weights.copy_(update_difficulty_weights(self.weights, self.difficulty, self.gamma, self.memory))
        for total in (self.entropy_sum, self.correct_sum, self.image_count):
            total.zero_()
