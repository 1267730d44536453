"""DQRoute in one module, for any training loop: class weights, nested experts and detectors, trained in one sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import checked_range, checked_whole, choose, widened, without_autocast
from dqroute.core.detectors import DetectorBank
from dqroute.core.difficulty import DifficultyTracker, combine_weights, frequency_prior
from dqroute.core.long_tail import ShotGroups, nested_class_sets, shot_groups
from dqroute.core.losses import expert_focus, expert_priors, log_prior
from dqroute.core.outputs import UNKNOWN, ExpertOutputs
from dqroute.core.rings import RingFusion
from dqroute.core.routing import COLDEST, FUSIONS, Fusion, fuse


class DQRouteLoss(nn.Module):
    """The joint loss of K nested experts, with its tracker of difficulty and its detectors inside.

    ``L = Σ_k mean_b v_{k,y_b} w̄_{y_b} CE(z_k + τ log π_k, y_b) + μ · Σ_k mean_b u_{y_b} BCE(σ(s_k), [y_b ∈ S_k])``

    The second sum is over the experts that have a detector, ``u_c ∝ 1 / n_c``. ``v_kc`` is larger for the expert's own
    classes ``S_k`` than outside: what makes the experts differ. At 0 outside, an expert's softmax runs over ``S_k``
    only, the literal reading; at 1 all learn alike. ``π_kc ∝ π_c v_kc`` corrects the prior for it. The class weights
    ``w̄`` follow the difficulty of the epochs before, and frequency. By its abstract the paper trains all jointly; the
    terms' form and weights are our choice. A sum over experts, not a mean: each then learns as fast as it would alone.

    Weights also shift: without information about an image, plain logits give class c a probability ``∝ w̄_c`` (by
    default .17/.30/.53 for counts of 500/50/5 whose classes are equally hard), a push towards rare and hard classes.
    ``prior_follows=True`` takes it out, ``π_kc ∝ π_c v_kc w̄_c``, and leaves attention alone.

    In a loop: ``loss = criterion(logits, labels)`` for each batch, with the module in training mode, where it counts
    what it sees; ``criterion.end_epoch()`` after each epoch; ``criterion.fuse(logits)`` to predict. All state is in
    buffers and parameters, to be saved; those of detectors that learn want to be optimized, too. Unknown names and
    values out of range are a ValueError.

    Args:
        counts: training images per class, ``[C]``.
        groups: shot groups, or the rule for them, see :func:`~dqroute.core.long_tail.shot_groups`.
        lam, gamma, smoothing, memory: of the :class:`~dqroute.core.difficulty.DifficultyTracker`.
        alpha, strength: of :func:`~dqroute.core.difficulty.combine_weights`; prior: ``"inverse"`` or ``"effective"``.
        prior_follows: whether the prior in the softmax takes the class weights' shift out.
        start: share of the training after which the class weights count.
        experts: ``K``, nested as :func:`~dqroute.core.long_tail.nested_class_sets` says.
        outsiders: o of :func:`~dqroute.core.losses.expert_focus`, 0 to 1.
        detector: a name from :data:`~dqroute.core.detectors.DETECTORS`; detector_weight: μ. With ``fusion="rings"``
            neither counts.
        tau: τ, strength of the prior in the classification terms; 0 is plain cross-entropy.
        fusion: a name from :data:`~dqroute.core.routing.FUSIONS`, or ``"rings"``, the plain mean until :meth:`settle`
            has fitted it, its rings then being the detectors; see :class:`~dqroute.core.rings.RingFusion`.
        temperature: of the detectors' confidences, with the rules of FUSIONS.
        features: ``D``, for the detectors that read features.
        further: experts of another kind whose logits follow the nested ones'. They have all classes, are not trained
            here, and are heard by ``"rings"`` alone.
    """

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
        further: int = 0,
    ) -> None:
        super().__init__()
        counts = torch.as_tensor(counts)
        if counts.ndim != 1 or len(counts) < 2 or counts.is_floating_point() or int(counts.min()) < 1:
            raise ValueError(f"counts are each class's training images, 1 or more, of 2 classes or more; got {counts}")
        self.alpha, self.start = checked_range("alpha", alpha, 0, 1), checked_range("start", start, 0, 1)
        self.strength, self.tau = checked_range("strength", strength, 0), checked_range("tau", tau, 0)
        self.detector_weight = checked_range("detector_weight", detector_weight, 0)
        if checked_range("outsiders", outsiders, 0, 1) == 0 and fusion != "restricted":
            raise ValueError("with outsiders=0 experts know nothing of other classes; use fusion='restricted'")
        self.fusion = choose("fusion rule", fusion, [*FUSIONS, "rings"])
        self.temperature = checked_range("temperature", temperature, COLDEST)
        if not isinstance(prior_follows, bool):
            raise ValueError(f"prior_follows is True or False; got {prior_follows!r}")
        self.prior_follows = prior_follows
        shots = shot_groups(counts, groups) if isinstance(groups, str) else groups
        if shots.num_classes != len(counts):
            raise ValueError(f"groups of {shots.num_classes} classes do not fit the counts of {len(counts)}")
        sets = nested_class_sets(shots, counts, experts)
        self.detectors = DetectorBank(detector, sets, len(counts), features)
        self.further = checked_whole("further", further, 0)
        self.rings = RingFusion(self.detectors.members, len(sets) + further) if fusion == "rings" else None
        self.tracker = DifficultyTracker(len(counts), lam, gamma, smoothing, memory)
        self.log_pi = nn.Buffer(log_prior(counts))
        self.focus = nn.Buffer(expert_focus(counts, self.detectors.members, outsiders))
        self.log_priors = nn.Buffer(expert_priors(self.log_pi, self.focus))
        self.prior = nn.Buffer(frequency_prior(counts, prior))
        self.class_weights = nn.Buffer(torch.ones(len(counts)))
        self.image_weights = nn.Buffer(counts.float().mean() / counts.float())

    @without_autocast
    def forward(
        self, logits: Tensor, labels: Tensor, features: Tensor = UNKNOWN, *, count: bool | None = None
    ) -> Tensor:
        """The scalar to minimise for one batch.

        Args:
            logits: of the experts, ``[K, B, C]``, any floating type; labels: int64 ``[B]``.
            features: ``[K, B, D]``, where the detectors read them.
            count: whether to count the batch for the classes' difficulty; None in training mode. Who has predictions
                out of fold says False, and counts those by :meth:`observe`.
        """
        self.check(logits)
        said = ExpertOutputs(logits, features)
        logits = logits[: len(self.detectors.members)]
        if labels.dtype != torch.int64 or labels.shape != logits.shape[1:2]:
            raise ValueError(f"labels are int64 [{logits.shape[1]}]; got {labels.dtype} {list(labels.shape)}")
        outputs = ExpertOutputs(widened(logits), features)
        each, terms = outputs.logits.unbind(), []
        priors: Tensor = self.log_priors
        if self.prior_follows:
            priors = (priors + self.class_weights.log()).log_softmax(dim=1)
        for z, log_prior_k, v in zip(each, priors, self.focus, strict=True):
            left_out = v == 0
            # The -inf set apart, because τ = 0 would make NaN of it; on [C], because a pass over [B, C] costs.
            adjusted = z + (self.tau * log_prior_k.masked_fill(left_out, 0)).masked_fill(left_out, -torch.inf)
            # An image of a class left out has no logit here; any other stands in, and its weight of 0 drops it.
            target = torch.where(left_out[labels], v.argmax(), labels)
            losses = F.cross_entropy(adjusted, target, reduction="none")
            terms.append((losses * (v * self.class_weights)[labels]).mean())
        loss = torch.stack(terms).sum()
        # By rings, the detectors are fitted afterwards: there is nothing for them to learn here.
        if self.detector_weight and self.rings is None:
            detection = self.detectors.loss(self.detectors.learns(outputs, each), labels, self.image_weights)
            loss = loss + self.detector_weight * detection
        if self.training if count is None else count:
            self.observe(said, labels)
        return loss

    @torch.no_grad()
    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        """Count a batch for the classes' difficulty, as the experts together predict it."""
        self.tracker.observe(self.fuse(*outputs).log_probability, labels)

    def fuse(self, logits: Tensor, features: Tensor = UNKNOWN) -> Fusion:
        """One prediction from the experts, of their logits ``[K, B, C]``; see :mod:`dqroute.core.routing`."""
        self.check(logits)
        if self.rings is not None:
            return self.rings(logits)
        nested = logits[: len(self.detectors.members)]
        log_odds = self.detectors(nested, features)
        return fuse(self.fusion, nested, log_odds, self.detectors.members, self.temperature)

    def log_odds(self, logits: Tensor, features: Tensor = UNKNOWN) -> Tensor:
        """What each expert's detector says, ``[K, B]``, of logits ``[K, B, C]``."""
        if self.rings is not None:
            return self.rings.log_odds(logits)
        return self.detectors(logits, features)

    def settle(self, logits: Tensor, labels: Tensor) -> None:
        """Fit the fusion by rings, if it is that; best on logits ``[K, N, C]`` for images that did not train them."""
        self.check(logits)
        if self.rings is not None:
            self.rings.fit(logits, labels)

    def check(self, logits: Tensor) -> None:
        """Raise ValueError unless these are logits of these experts and classes."""
        experts, classes = self.detectors.members.shape
        experts += self.further
        if logits.ndim != 3 or logits.shape[::2] != (experts, classes):
            raise ValueError(f"logits are [{experts} experts, batch, {classes} classes]; got {list(logits.shape)}")

    def end_epoch(self, progress: float = 1.0) -> None:
        """Turn what was counted into difficulties, and these into the class weights of the next epoch.

        ``progress`` is the share of the training that is done, 0 to 1; class weights count from ``start`` on. Left out,
        they count from the second epoch on.
        """
        checked_range("progress", progress, 0, 1)
        self.tracker.end_epoch()
        self.weigh(progress)

    def weigh(self, progress: float) -> None:
        """Take the class weights from the tracker, if so much of the training is done that they count."""
        if progress >= self.start:
            self.class_weights.copy_(combine_weights(self.tracker.weights, self.prior, self.alpha, self.strength))
