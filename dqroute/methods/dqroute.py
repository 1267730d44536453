"""DQRoute itself: the joint loss of :mod:`dqroute.core`, on a network of nested experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dqroute.core import losses
from dqroute.core.checks import checked_range, choose
from dqroute.core.detectors import DetectorBank
from dqroute.core.difficulty import DifficultyTracker, combine_weights, frequency_prior
from dqroute.core.long_tail import nested_class_sets
from dqroute.core.routing import FUSIONS, Fusion, checked_temperature, fuse
from dqroute.methods.base import Method, Problem, register
from dqroute.models.experts import ExpertOutputs


@register("dqroute")
class DQRoute(Method):
    """Difficulty-aware class weights and three nested experts, fused by their detectors (Wei et al., 2025).

    Args:
        alpha: α, 0 weighs classes by frequency only, 1 by difficulty only.
        lam, gamma, smoothing, memory: of the :class:`~dqroute.core.difficulty.DifficultyTracker`.
        strength: tempers the class weights; see :func:`~dqroute.core.difficulty.combine_weights`.
        prior: the frequency prior, ``"inverse"`` or ``"effective"``.
        start: share of the training after which the class weights count.
        experts: ``K``, nested as :func:`~dqroute.core.long_tail.nested_class_sets` says.
        outsiders: o, 0 to 1, what an image of other classes counts for an expert beside one of its own; see
            :func:`~dqroute.core.losses.expert_focus`.
        detector: a name from :data:`~dqroute.core.detectors.DETECTORS`; detector_weight: μ of the joint loss.
        tau: strength of the prior in the classification terms.
        fusion: a name from :data:`~dqroute.core.routing.FUSIONS`; temperature: of the detectors' confidences there.
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
        """See :func:`dqroute.core.losses.dqroute`."""
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
