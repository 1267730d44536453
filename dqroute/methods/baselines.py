"""The baselines of one expert: what each adds to plain cross-entropy; and one for which nothing is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core import losses
from dqroute.core.checks import checked_range
from dqroute.core.difficulty import frequency_prior
from dqroute.core.long_tail import nested_class_sets
from dqroute.core.outputs import ExpertOutputs
from dqroute.methods.base import Method, Problem, register


@register("cross-entropy")
class CrossEntropy(Method):
    """Plain cross-entropy, blind to the imbalance."""

    def __init__(self, problem: Problem, *, classifier: str = "auto") -> None:
        super().__init__(problem, classifier=classifier)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``mean_b -log softmax(z)_y``."""
        return F.cross_entropy(outputs.logits[0], labels)


class Deferred(Method):
    """Base of the methods that weigh classes late in training only (deferred re-weighting, DRW, Cao et al., 2019).

    ``start`` is the share of the training after which the weights count (0.8 is epoch 160 of 200), ``beta`` is β of the
    effective number of images.
    """

    def __init__(self, problem: Problem, *, start: float, beta: float, classifier: str = "auto") -> None:
        super().__init__(problem, classifier=classifier)
        self.start = checked_range("start", start, 0, 1)
        self.drw_weights = nn.Buffer(frequency_prior(problem.counts, "effective", beta) * len(problem.counts))

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

    def __init__(self, problem: Problem, *, start: float = 0.8, beta: float = 0.9999, margin: float = 0.5) -> None:
        super().__init__(problem, start=start, beta=beta, classifier="cosine")
        self.margins = nn.Buffer(losses.ldam_margins(problem.counts, checked_range("margin", margin, 0)))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.core.losses.ldam`."""
        return losses.ldam(outputs.logits[0], labels, self.margins, self.network.scale, self.current_weights())


@register("logit-adjustment")
class LogitAdjustment(Method):
    """Logit-adjusted cross-entropy (Menon et al., 2021), one expert."""

    def __init__(self, problem: Problem, *, tau: float = 1.0, classifier: str = "auto") -> None:
        super().__init__(problem, classifier=classifier)
        self.tau = checked_range("tau", tau, 0)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.core.losses.logit_adjusted`."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_pi, self.tau)


@register("geometric-mean")
class GeometricMean(LogitAdjustment):
    """The geometric mean of the classes' accuracies as the goal, for the worst of them (Du and Wu, 2023), one expert.

    ``tau`` is τ, the strength of the prior. The authors' second step, a mixture with the network as it was before, is
    left out.
    """

    by_batch = True

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.core.losses.geometric_mean`."""
        return losses.geometric_mean(outputs.logits[0], labels, self.log_pi, self.tau)


class Focusing(Method):
    """Base of the methods in which some classes' images count more, ``v_c``, ``[C]``, and the prior follows."""

    def __init__(self, problem: Problem, focus: Tensor, *, tau: float = 1.0, classifier: str = "auto") -> None:
        super().__init__(problem, classifier=classifier)
        self.tau, self.focus = checked_range("tau", tau, 0), nn.Buffer(focus)
        self.log_prior = nn.Buffer(losses.expert_priors(self.log_pi, focus[None])[0])

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """``mean_b v_y CE(z + τ log π', y)``, ``π'_c ∝ π_c v_c``: the logits stay those of balance."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_prior, self.tau, self.focus)


@register("weighted")
class Weighted(Focusing):
    """Logit adjustment in which images of rare classes count more, from the first epoch on, and the prior follows.

    On average, counting an image ``n_c^-q`` times equals drawing classes with frequencies ``∝ n_c^(1-q)`` (at q = ½
    square-root sampling; Kang et al., 2020). A rival of all that DQRoute adds: it has class weights and nothing else.
    ``rarity`` is q, 0 to 1, of ``v_c ∝ n_c^-q``: 0 is logit adjustment, 1 lets all classes count alike.
    """

    def __init__(self, problem: Problem, *, rarity: float = 0.25, classifier: str = "auto") -> None:
        focus = losses.rarity_focus(problem.counts, checked_range("rarity", rarity, 0, 1))
        super().__init__(problem, focus, classifier=classifier)


@register("focused")
class Focused(Focusing):
    """One branch that learns as DQRoute's third expert does: the rival that asks whether three are needed.

    ``outsiders`` is o, 0 to 1, what an image of many- and medium-shot classes counts beside one of a few-shot class,
    see :func:`dqroute.core.losses.expert_focus`; ``tau`` is τ, the strength of the prior.
    """

    def __init__(self, problem: Problem, *, outsiders: float = 0.2, tau: float = 1.0, classifier: str = "auto") -> None:
        few = torch.zeros(len(problem.counts), dtype=torch.bool)
        few[list(nested_class_sets(problem.groups, problem.counts, 3)[-1])] = True
        # At 0 the other classes would be left out of the only softmax there is.
        focus = losses.expert_focus(problem.counts, few, checked_range("outsiders", outsiders, 1e-6, 1))
        super().__init__(problem, focus, tau=tau, classifier=classifier)


@register("gaussian")
class Gaussian(Method):
    """A Gaussian for each class on features of a pretrained encoder, all of one covariance: no training, no epochs.

    ``ridge``, 0 to 1, draws the covariance to a sphere: at 1 the nearest class mean is the answer. See
    :meth:`dqroute.models.heads.Heads.meet`.
    """

    trained = False

    def __init__(self, problem: Problem, *, ridge: float = 0.1) -> None:
        if problem.encoder is None:
            raise ValueError(
                "gaussian reads features of a pretrained encoder: load the set with backbone='efficientnet-lite0', say"
            )
        super().__init__(problem, experts=0, gaussian=ridge)
