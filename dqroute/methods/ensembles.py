"""The rivals of several experts: RIDE, SADE and BalPoE, whose prediction is the mean of their logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core import losses
from dqroute.core.checks import checked_range, choose
from dqroute.core.outputs import ExpertOutputs
from dqroute.methods.base import Method, Problem, register


@register("ride")
class RIDE(Method):
    """Three experts paid for disagreeing, mean of logits, in the manner of RIDE (Wang et al., 2021).

    ``base`` is each expert's own loss, ``"logit-adjustment"`` or ``"ldam"``; ``diversity`` is δ, the reward for
    disagreeing. The authors' code has 0.2, with LDAM and a long schedule; in the short one of the preset ``laptop``
    0.05 is best on validation images. RIDE's second stage, a router that stops early to save work, is left out.
    """

    revision = 2

    def __init__(
        self,
        problem: Problem,
        *,
        experts: int = 3,
        base: str = "logit-adjustment",
        diversity: float = 0.05,
        classifier: str = "auto",
    ) -> None:
        super().__init__(problem, experts=experts, classifier=classifier)
        self.base = choose("base loss", base, ("logit-adjustment", "ldam"))
        if base == "ldam" and self.classifier != "cosine":
            raise ValueError("the margins of base='ldam' live on the cosine; use classifier='cosine' with it")
        self.diversity = checked_range("diversity", diversity, 0)
        self.margins = nn.Buffer(losses.ldam_margins(problem.counts))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``Σ_k L(z_k, y) - δ · diversity``, L the base loss; see :func:`dqroute.core.losses.diversity`."""
        if self.base == "ldam":
            each = [losses.ldam(logits, labels, self.margins, self.network.scale) for logits in outputs.logits]
        else:
            each = [losses.logit_adjusted(logits, labels, self.log_pi) for logits in outputs.logits]
        return torch.stack(each).sum() - self.diversity * losses.diversity(outputs.logits)


@register("sade")
class SADE(Method):
    """Three experts, for a long-tailed, a balanced and an inverse world, in the manner of SADE (Zhang et al., 2022).

    The mean of their logits predicts; :func:`dqroute.runs.worlds.worlds_of` weighs them for worlds, as the authors do.
    """

    def __init__(self, problem: Problem, *, tau: float = 2.0, classifier: str = "auto") -> None:
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


@register("balpoe")
class BalPoE(Method):
    """Experts of other biases and mixup, in the manner of BalPoE, balanced product of experts (Aimar et al., 2023).

    Expert k learns under ``τ_k log π``, ``τ`` from 0 to ``reach`` in equal steps: for the long tail, for balance and
    beyond. Their mean is that of one expert at the mean τ, which 1, that of the default reach, makes right for
    balance, if all are calibrated: mixup, by shares from Beta(``mixup``, ``mixup``), is for that.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        experts: int = 3,
        reach: float = 2.0,
        mixup: float = 0.4,
        classifier: str = "auto",
    ) -> None:
        super().__init__(problem, experts=experts, classifier=classifier)
        self.mixup = checked_range("mixup", mixup, 0)
        checked_range("reach", reach, 0)
        self.taus = torch.linspace(0, reach, experts).tolist() if experts > 1 else [reach / 2]

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``Σ_k CE(z_k + τ_k log π, y)``."""
        each = [
            losses.logit_adjusted(z, labels, self.log_pi, t) for z, t in zip(outputs.logits, self.taus, strict=True)
        ]
        return torch.stack(each).sum()
