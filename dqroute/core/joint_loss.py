"""DQRoute in one module, for any training loop: class weights, nested experts and detectors, trained in one sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import checked_range, choose, widened, without_autocast
from dqroute.core.detectors import DetectorBank
from dqroute.core.difficulty import DifficultyTracker, combine_weights, frequency_prior
from dqroute.core.long_tail import ShotGroups, nested_class_sets, shot_groups
from dqroute.core.losses import expert_focus, expert_priors, log_prior
from dqroute.core.outputs import UNKNOWN, ExpertOutputs
from dqroute.core.routing import FUSIONS, Fusion, checked_temperature, fuse


class DQRouteLoss(nn.Module):
    """The joint loss of K nested experts, with its tracker of difficulty and its detectors inside.

    ``L = Σ_k mean_b v_{k,y_b} w̄_{y_b} CE(z_k + τ log π_k, y_b) + μ · Σ_k mean_b u_{y_b} BCE(σ(s_k), [y_b ∈ S_k])``

    The second sum is over the experts that have a detector, ``u_c ∝ 1 / n_c``. ``v_kc`` is larger for the expert's own
    classes ``S_k`` than outside: what makes the experts differ. At 0 outside, an expert's softmax runs over ``S_k``
    only, the literal reading; at 1 all learn alike. ``π_kc ∝ π_c v_kc`` corrects the prior for it. The class weights
    ``w̄`` follow the difficulty of the epochs before, and frequency. The paper trains all jointly; the terms' form and
    weights are our choice. A sum over experts, not a mean: each then learns as fast as it would alone.

    Weights also shift: without information about an image, plain logits give class c a probability ``∝ w̄_c`` (by
    default .17/.30/.53 for counts of 500/50/5 whose classes are equally hard), a push towards rare and hard classes.
    ``prior_follows=True`` takes it out, ``π_kc ∝ π_c v_kc w̄_c``, and leaves attention alone.

    In a loop: ``loss = criterion(logits, labels)`` for each batch, with the module in training mode, where it counts
    what it sees; ``criterion.end_epoch()`` after each epoch; ``criterion.fuse(logits)`` to predict. All state is in
    buffers and parameters: the detectors of kinds that learn want to be optimized, and all of it saved.

    Args:
        counts: training images per class, ``[C]``.
        groups: shot groups, or the rule for them, see :func:`~dqroute.core.long_tail.shot_groups`.
        alpha: α, 0 weighs classes by frequency only, 1 by difficulty only.
        lam, gamma, smoothing, memory: of the :class:`~dqroute.core.difficulty.DifficultyTracker`.
        strength: tempers the class weights; see :func:`~dqroute.core.difficulty.combine_weights`.
        prior: the frequency prior, ``"inverse"`` or ``"effective"``.
        prior_follows: whether the prior in the softmax takes the class weights' shift out.
        start: share of the training after which the class weights count.
        experts: ``K``, nested as :func:`~dqroute.core.long_tail.nested_class_sets` says.
        outsiders: o, 0 to 1, what an image of other classes counts for an expert beside one of its own; see
            :func:`~dqroute.core.losses.expert_focus`.
        detector: a name from :data:`~dqroute.core.detectors.DETECTORS`; detector_weight: μ.
        tau: τ, strength of the prior in the classification terms; 0 is plain cross-entropy.
        fusion: a name from :data:`~dqroute.core.routing.FUSIONS`; temperature: of the detectors' confidences there.
        features: ``D``, for the detectors that read features.

    Raises:
        ValueError: for unknown names and values out of range.
    """

    log_pi: Tensor
    focus: Tensor
    log_priors: Tensor
    image_weights: Tensor
    class_weights: Tensor
    prior: Tensor

    def __init__(
        self,
        counts: Sequence[int] | Tensor,
        groups: ShotGroups | str = "auto",
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
        features: int = 0,
    ) -> None:
        super().__init__()
        counts = torch.as_tensor(counts)
        if counts.ndim != 1 or len(counts) < 2 or counts.is_floating_point() or int(counts.min()) < 1:
            raise ValueError(
                f"counts are each class's training images, whole numbers from 1, for 2 classes or more; got {counts}"
            )
        self.alpha, self.start = checked_range("alpha", alpha, 0, 1), checked_range("start", start, 0, 1)
        self.strength, self.tau = checked_range("strength", strength, 0), checked_range("tau", tau, 0)
        self.detector_weight = checked_range("detector_weight", detector_weight, 0)
        if checked_range("outsiders", outsiders, 0, 1) == 0 and fusion != "restricted":
            raise ValueError(
                "with outsiders=0 an expert's logits outside its classes are untrained; use fusion='restricted'"
            )
        self.fusion, self.temperature = choose("fusion rule", fusion, FUSIONS), checked_temperature(temperature)
        if not isinstance(prior_follows, bool):
            raise ValueError(f"prior_follows is True or False; got {prior_follows!r}")
        self.prior_follows = prior_follows
        shots = shot_groups(counts, groups) if isinstance(groups, str) else groups
        if shots.num_classes != len(counts):
            raise ValueError(f"groups of {shots.num_classes} classes do not fit the counts of {len(counts)}")
        sets = nested_class_sets(shots, counts, experts)
        self.detectors = DetectorBank(detector, sets, len(counts), features)
        self.tracker = DifficultyTracker(len(counts), lam, gamma, smoothing, memory)
        self.register_buffer("log_pi", log_prior(counts))
        self.register_buffer("focus", expert_focus(counts, self.detectors.members, outsiders))
        self.register_buffer("log_priors", expert_priors(self.log_pi, self.focus))
        self.register_buffer("prior", frequency_prior(counts, prior))
        self.register_buffer("class_weights", torch.ones(len(counts)))
        self.register_buffer("image_weights", counts.float().mean() / counts.float())

    @without_autocast
    def forward(self, logits: Tensor, labels: Tensor, features: Tensor = UNKNOWN) -> Tensor:
        """The scalar to minimise for one batch; in training mode the batch is counted for the classes' difficulty.

        Args:
            logits: of the experts, ``[K, B, C]``, any floating type; labels: int64 ``[B]``.
            features: ``[K, B, D]``, where the detectors read them.
        """
        self.check(logits)
        if labels.dtype != torch.int64 or labels.shape != logits.shape[1:2]:
            raise ValueError(f"labels are int64 [{logits.shape[1]}]; got {labels.dtype} {list(labels.shape)}")
        outputs = ExpertOutputs(widened(logits), features)
        each, terms = outputs.logits.unbind(), []
        priors = self.log_priors
        if self.prior_follows:
            priors = (priors + self.class_weights.log()).log_softmax(dim=1)
        for z, log_prior_k, v in zip(each, priors, self.focus, strict=True):
            left_out = v == 0
            # The -inf set apart, because τ = 0 would make NaN of it; on [C], because a pass over [B, C] costs.
            adjusted = z + (self.tau * log_prior_k.masked_fill(left_out, 0)).masked_fill(left_out, -torch.inf)
            # An image of a class left out has no logit of its own here; any other stands in, and its weight of 0 drops
            # it.
            target = torch.where(left_out[labels], v.argmax(), labels)
            losses = F.cross_entropy(adjusted, target, reduction="none")
            terms.append((losses * (v * self.class_weights)[labels]).mean())
        detection = self.detectors.loss(self.detectors.learns(outputs, each), labels, self.image_weights)
        if self.training:
            self.observe(outputs, labels)
        return torch.stack(terms).sum() + self.detector_weight * detection

    @torch.no_grad()
    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        """Count a batch for the classes' difficulty, as the experts together predict it."""
        self.tracker.observe(self.fuse(*outputs).log_probability, labels)

    def fuse(self, logits: Tensor, features: Tensor = UNKNOWN, ran: Tensor | None = None) -> Fusion:
        """One prediction from the experts, of their logits ``[K, B, C]``; see :mod:`dqroute.core.routing`."""
        self.check(logits)
        log_odds = self.detectors(logits, features, ran)
        return fuse(self.fusion, logits, log_odds, self.detectors.members, self.temperature)

    def check(self, logits: Tensor) -> None:
        """Raise ValueError unless these are logits of these experts and classes."""
        experts, classes = self.detectors.members.shape
        if logits.ndim != 3 or logits.shape[::2] != (experts, classes):
            raise ValueError(f"logits are [{experts} experts, batch, {classes} classes]; got {list(logits.shape)}")

    def end_epoch(self, progress: float = 1.0) -> None:
        """Turn what was counted into difficulties, and these into the class weights of the next epoch.

        Args:
            progress: share of the training that is done, 0 to 1; class weights count from ``start`` on. Left out, they
                count from the second epoch on.
        """
        checked_range("progress", progress, 0, 1)
        self.tracker.end_epoch()
        self.weigh(progress)

    def weigh(self, progress: float) -> None:
        """Take the class weights from the tracker, if so much of the training is done that they count."""
        if progress >= self.start:
            self.class_weights.copy_(combine_weights(self.tracker.weights, self.prior, self.alpha, self.strength))
