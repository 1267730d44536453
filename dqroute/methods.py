"""The methods, one entry each: its loss, and what it has beside a network.

A new one is a subclass of :class:`~dqroute.Method` with a ``loss`` and a line ``@register("name")``; nothing else needs
to know it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute import losses
from dqroute.checks import checked_range, choose
from dqroute.detectors import DetectorBank
from dqroute.difficulty import DifficultyTracker, combine_weights, frequency_prior
from dqroute.long_tail import nested_class_sets
from dqroute.method import Method, Problem, register
from dqroute.networks import COSINE_SCALE, ExpertOutputs
from dqroute.routing import FUSIONS, Fusion, checked_temperature, fuse


@register("cross-entropy")
class CrossEntropy(Method):
    """Plain cross-entropy, blind to the imbalance."""

    def __init__(self, problem: Problem, *, classifier: str = "linear") -> None:
        super().__init__(problem, classifier=classifier)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``mean_b -log softmax(z)_y``."""
        return F.cross_entropy(outputs.logits[0], labels)


class Deferred(Method):
    """Base of the methods that weigh classes late in training only (deferred re-weighting, DRW, Cao et al., 2019).

    Args:
        start: share of the training after which the weights count; 0.8 is epoch 160 of 200.
        beta: β of the effective number of images.
    """

    drw_weights: Tensor

    def __init__(self, problem: Problem, *, start: float, beta: float, classifier: str = "linear") -> None:
        super().__init__(problem, classifier=classifier)
        self.start = checked_range("start", start, 0, 1)
        self.register_buffer("drw_weights", frequency_prior(problem.counts, "effective", beta) * len(problem.counts))

    def current_weights(self) -> Tensor | None:
        """The weights that count now, ``[C]``, or None for 1: ``w_c ∝ (1 - β) / (1 - β^n_c)``, mean 1, late only."""
        return self.drw_weights if self.progress >= self.start else None


@register("class-balanced")
class ClassBalanced(Deferred):
    """Class-balanced cross-entropy (Cui et al., 2019) with deferred re-weighting."""

    def __init__(self, problem: Problem, *, start: float = 0.8, beta: float = 0.9999) -> None:
        super().__init__(problem, start=start, beta=beta)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``Σ_b w_y CE(z, y) / Σ_b w_y``."""
        return F.cross_entropy(outputs.logits[0], labels, weight=self.current_weights())


@register("ldam")
class LDAM(Deferred):
    """Label-distribution-aware margins with deferred re-weighting, LDAM-DRW (Cao et al., 2019)."""

    margins: Tensor

    def __init__(self, problem: Problem, *, start: float = 0.8, beta: float = 0.9999, margin: float = 0.5) -> None:
        super().__init__(problem, start=start, beta=beta, classifier="cosine")
        self.register_buffer("margins", losses.ldam_margins(problem.counts, checked_range("margin", margin, 0)))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.losses.ldam`."""
        return losses.ldam(outputs.logits[0], labels, self.margins, COSINE_SCALE, self.current_weights())


@register("logit-adjustment")
class LogitAdjustment(Method):
    """Logit-adjusted cross-entropy (Menon et al., 2021), one expert."""

    def __init__(self, problem: Problem, *, tau: float = 1.0, classifier: str = "linear") -> None:
        super().__init__(problem, classifier=classifier)
        self.tau = checked_range("tau", tau, 0)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.losses.logit_adjusted`."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_pi, self.tau)


@register("weighted")
class Weighted(Method):
    """Logit adjustment in which images of rare classes count more, from the first epoch on, and the prior follows.

    On average, counting an image ``n_c^-q`` times equals drawing classes with frequencies ``∝ n_c^(1-q)`` (at q = ½
    square-root sampling; Kang et al., 2020). A rival of all that DQRoute adds: it has class weights and nothing else.

    Args:
        rarity: q, 0 to 1: 0 is logit adjustment, 1 lets all classes count alike.
    """

    focus: Tensor
    log_prior: Tensor

    def __init__(self, problem: Problem, *, rarity: float = 0.25, classifier: str = "linear") -> None:
        super().__init__(problem, classifier=classifier)
        focus = losses.rarity_focus(problem.counts, checked_range("rarity", rarity, 0, 1))
        self.register_buffer("focus", focus)
        self.register_buffer("log_prior", losses.expert_priors(self.log_pi, focus[None])[0])

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``mean_b v_y CE(z + log π', y)``, ``v_c ∝ n_c^-q``, ``π'_c ∝ π_c v_c``: the logits stay those of balance."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_prior, 1.0, self.focus)


@register("focused")
class Focused(Method):
    """One branch that learns as DQRoute's third expert does: the rival that asks whether three are needed.

    Args:
        outsiders: o, 0 to 1, what an image of many- and medium-shot classes counts beside one of a few-shot class.
        tau: strength of the prior.
    """

    focus: Tensor
    log_prior: Tensor

    def __init__(
        self, problem: Problem, *, outsiders: float = 0.2, tau: float = 1.0, classifier: str = "linear"
    ) -> None:
        super().__init__(problem, classifier=classifier)
        # At 0 the other classes would be left out of the only softmax there is.
        self.tau, outsiders = checked_range("tau", tau, 0), checked_range("outsiders", outsiders, 1e-6, 1)
        few = torch.zeros(1, len(problem.counts), dtype=torch.bool)
        few[0, list(nested_class_sets(problem.groups, problem.counts, 3)[-1])] = True
        focus = losses.expert_focus(problem.counts, few, outsiders)
        self.register_buffer("focus", focus[0])
        self.register_buffer("log_prior", losses.expert_priors(self.log_pi, focus)[0])

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``mean_b v_y CE(z + τ log π', y)``, ``π'_c ∝ π_c v_c``; see :func:`dqroute.losses.expert_focus`."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_prior, self.tau, self.focus)


@register("ride")
class RIDE(Method):
    """Three experts paid for disagreeing, mean of logits, in the manner of RIDE (Wang et al., 2021).

    Args:
        experts: how many.
        base: each expert's own loss, ``"logit-adjustment"`` or ``"ldam"``.
        diversity: weight of the reward for disagreeing.
        classifier: ``"linear"`` or ``"cosine"``.

    RIDE's second stage, a router that stops early to save work, is left out.
    """

    margins: Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        experts: int = 3,
        base: str = "logit-adjustment",
        diversity: float = 0.05,
        classifier: str = "linear",
    ) -> None:
        super().__init__(problem, experts=experts, classifier=classifier)
        self.base = choose("base loss", base, ("logit-adjustment", "ldam"))
        if base == "ldam" and classifier != "cosine":
            raise ValueError("the margins of base='ldam' live on the cosine; use classifier='cosine' with it")
        self.diversity = checked_range("diversity", diversity, 0)
        self.register_buffer("margins", losses.ldam_margins(problem.counts))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``Σ_k L(z_k, y) - δ · diversity``, δ the reward's weight; see :func:`dqroute.losses.diversity`.

        ``L`` is the base loss.
        """
        if self.base == "ldam":
            each = [losses.ldam(logits, labels, self.margins, COSINE_SCALE) for logits in outputs.logits]
        else:
            each = [losses.logit_adjusted(logits, labels, self.log_pi) for logits in outputs.logits]
        return torch.stack(each).sum() - self.diversity * losses.diversity(outputs.logits)


@register("sade")
class SADE(Method):
    """Three experts, for a long-tailed, a balanced and an inverse world, in the manner of SADE (Zhang et al., 2022).

    The mean of their logits predicts; SADE's aggregation at test time, for other distributions, is left out.
    """

    def __init__(self, problem: Problem, *, tau: float = 2.0, classifier: str = "linear") -> None:
        super().__init__(problem, experts=3, classifier=classifier)
        self.tau = checked_range("tau", tau, 0)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``CE(z_1, y) + CE(z_2 + log π, y) + CE(z_3 + log π - τ log π̄, y)``, π̄ the prior upside down."""
        forward, uniform, backward = outputs.logits
        each = (
            F.cross_entropy(forward, labels),
            losses.logit_adjusted(uniform, labels, self.log_pi),
            losses.inverse_softmax(backward, labels, self.log_pi, self.tau),
        )
        return torch.stack(each).sum()


@register("dqroute")
class DQRoute(Method):
    """Difficulty-aware class weights and three nested experts, fused by their detectors (Wei et al., 2025).

    Args:
        alpha: α, 0 weighs classes by frequency only, 1 by difficulty only.
        lam, gamma, smoothing, memory: of the :class:`~dqroute.difficulty.DifficultyTracker`.
        strength: tempers the class weights; see :func:`~dqroute.difficulty.combine_weights`.
        prior: the frequency prior, ``"inverse"`` or ``"effective"``.
        start: share of the training after which the class weights count.
        experts: ``K``, nested as :func:`~dqroute.long_tail.nested_class_sets` says.
        outsiders: o, 0 to 1, what an image of other classes counts for an expert beside one of its own; see
            :func:`~dqroute.losses.expert_focus`.
        detector: a name from :data:`~dqroute.detectors.DETECTORS`; detector_weight: μ of the joint loss.
        tau: strength of the prior in the classification terms.
        fusion: a name from :data:`~dqroute.routing.FUSIONS`; temperature: of the detectors' confidences there.
        classifier: ``"linear"`` or ``"cosine"``.
    """

    focus: Tensor
    log_priors: Tensor
    image_weights: Tensor
    class_weights: Tensor
    prior: Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        alpha: float = 0.5,
        lam: float = 1.0,
        gamma: float = 1.0,
        smoothing: float = 0.7,
        memory: float = 0.5,
        strength: float = 0.5,
        prior: str = "inverse",
        start: float = 0.6,
        experts: int = 3,
        outsiders: float = 0.2,
        detector: str = "consensus",
        detector_weight: float = 1 / 3,
        tau: float = 1.0,
        fusion: str = "nested",
        temperature: float = 1.0,
        classifier: str = "linear",
    ) -> None:
        super().__init__(problem, experts=experts, classifier=classifier)
        self.alpha, self.start = checked_range("alpha", alpha, 0, 1), checked_range("start", start, 0, 1)
        self.strength, self.tau = checked_range("strength", strength, 0), checked_range("tau", tau, 0)
        self.detector_weight = checked_range("detector_weight", detector_weight, 0)
        if checked_range("outsiders", outsiders, 0, 1) == 0 and fusion != "restricted":
            raise ValueError(
                "with outsiders=0 an expert's logits outside its classes are untrained; use fusion='restricted'"
            )
        self.fusion, self.temperature = choose("fusion rule", fusion, FUSIONS), checked_temperature(temperature)
        counts = problem.counts
        sets = nested_class_sets(problem.groups, counts, experts)
        widths = self.network.features, self.network.shared_features
        self.detectors = DetectorBank(detector, sets, len(counts), *widths)
        self.tracker = DifficultyTracker(len(counts), lam, gamma, smoothing, memory)
        self.register_buffer("focus", losses.expert_focus(counts, self.detectors.members, outsiders))
        self.register_buffer("log_priors", losses.expert_priors(self.log_pi, self.focus))
        self.register_buffer("prior", frequency_prior(counts, prior))
        self.register_buffer("class_weights", torch.ones(len(counts)))
        self.register_buffer("image_weights", counts.float().mean() / counts.float())

    def start_epoch(self, progress: float) -> None:
        super().start_epoch(progress)
        if progress >= self.start:
            weights = combine_weights(self.tracker.weights, self.prior, self.alpha, self.strength)
            self.class_weights.copy_(weights)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.losses.dqroute`."""
        return losses.dqroute(
            outputs,
            labels,
            self.detectors,
            self.log_priors,
            self.focus,
            self.class_weights,
            self.image_weights,
            self.tau,
            self.detector_weight,
        )

    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        self.tracker.observe(self.fuse(outputs).log_probability, labels)

    def end_epoch(self) -> None:
        self.tracker.end_epoch()

    def diagnostics(self) -> dict[str, Any]:
        tracked = {"difficulty": self.tracker.difficulty, "difficulty_weights": self.tracker.weights}
        values = tracked | {"class_weights": self.class_weights}
        return {name: [float(f"{v:.5g}") for v in value.tolist()] for name, value in values.items()}

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        return outputs.where_run(self.detectors(outputs))

    def before_experts(self, shared: Tensor) -> Tensor:
        return self.detectors.before(shared)

    def class_sets(self) -> Tensor:
        return self.detectors.members

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        members = self.class_sets()
        logits = outputs.logits
        return fuse(self.fusion, logits, self.log_odds(outputs), members, self.temperature)
