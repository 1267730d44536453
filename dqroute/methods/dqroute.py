"""DQRoute itself: the joint loss of :mod:`dqroute.core`, on a network of nested experts."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dqroute.core.joint_loss import DQRouteLoss
from dqroute.core.outputs import ExpertOutputs
from dqroute.core.routing import Fusion
from dqroute.methods.base import Method, Problem, register


@register("dqroute")
class DQRoute(Method):
    """Difficulty-aware class weights and three nested experts, fused by their detectors (Wei et al., 2025).

    All options but ``classifier`` are those of :class:`~dqroute.core.joint_loss.DQRouteLoss`, here ``criterion``.
    """

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
        prior_follows: bool = False,
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
        self.criterion = DQRouteLoss(
            problem.counts,
            problem.groups,
            alpha=alpha,
            lam=lam,
            gamma=gamma,
            smoothing=smoothing,
            memory=memory,
            strength=strength,
            prior=prior,
            prior_follows=prior_follows,
            start=start,
            experts=experts,
            outsiders=outsiders,
            detector=detector,
            detector_weight=detector_weight,
            tau=tau,
            fusion=fusion,
            temperature=temperature,
            features=self.network.features,
        )

    def start_epoch(self, progress: float) -> None:
        super().start_epoch(progress)
        self.criterion.weigh(progress)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :class:`~dqroute.core.joint_loss.DQRouteLoss`; in training it counts the batch for the difficulties."""
        return self.criterion(outputs.logits, labels, outputs.features)

    def end_epoch(self) -> None:
        self.criterion.tracker.end_epoch()

    def diagnostics(self) -> dict[str, Any]:
        tracker = self.criterion.tracker
        values = {"difficulty": tracker.difficulty, "difficulty_weights": tracker.weights}
        values["class_weights"] = self.criterion.class_weights
        return {name: [float(f"{v:.5g}") for v in value.tolist()] for name, value in values.items()}

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        return self.criterion.detectors(*outputs)

    def class_sets(self) -> Tensor:
        return self.criterion.detectors.members

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        return self.criterion.fuse(*outputs)
