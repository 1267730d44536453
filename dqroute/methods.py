"""One entry a method: its network, its loss, and how it predicts.

A method is a module that holds an :class:`~dqroute.networks.ExpertNetwork` and whatever else it learns. A new one
is a subclass of :class:`Method` with a ``loss`` and a line ``@register("name")``; nothing else needs to know it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute import losses
from dqroute.checks import checked_range, choose
from dqroute.data.file_split import FileSplit
from dqroute.data.image_set import AnySplit, Split
from dqroute.detectors import DetectorBank
from dqroute.difficulty import DifficultyTracker, combine_weights, frequency_prior
from dqroute.engine import uses_bf16
from dqroute.inference import for_prediction, state_of
from dqroute.long_tail import ShotGroups, nested_class_sets
from dqroute.networks import COSINE_SCALE, Ask, ExpertNetwork, ExpertOutputs
from dqroute.routing import FUSIONS, AskDetectors, AskUntilSure, Fusion, checked_temperature, fuse


@dataclass(frozen=True)
class Problem:
    """What a method has to know before it is built.

    Attributes:
        counts: training images per class, ``[C]``.
        groups: shot groups.
        channels: of the images; mean, std: their pixels' mean and standard deviation by channel, in 0 to 255.
        backbone, shared_depth, branch_width: see :class:`~dqroute.networks.ExpertNetwork`.
        size: height and width of the images, which prediction asks for again; None takes any.
    """

    counts: Tensor
    groups: ShotGroups
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    backbone: str = "resnet8"
    shared_depth: int = 1
    branch_width: float = 1.0
    size: tuple[int, int] | None = None


class Prediction(NamedTuple):
    """What a model says of images.

    Attributes:
        label: int64 ``[N]``.
        probability: ``[N]``, of that label, 0 to 1.
        expert_weights: ``[N, K]``, each expert's share in the prediction, rows summing to 1.
        confidence: ``[N, K]``, each expert's detector's probability that the image belongs to its classes; 0 where
            the expert was skipped.
        probabilities: ``[N, C]``, of all classes.
        expert_labels: int64 ``[N, K]``, what each expert would have said alone; -1 where it was skipped.
        mean_label: int64 ``[N]``, what the plain mean of the logits of the experts that ran would have said.
        ran: bool ``[N, K]``, false where an expert was skipped.
    """

    label: Tensor
    probability: Tensor
    expert_weights: Tensor
    confidence: Tensor
    probabilities: Tensor
    expert_labels: Tensor
    mean_label: Tensor
    ran: Tensor


class Method(nn.Module):
    """Base of all methods: a network, the mean of its experts' logits as prediction, and no loss yet.

    Args:
        problem: the data set's numbers and the network's size.
        experts: ``K``; classifier: ``"linear"`` or ``"cosine"``.
    """

    summary: ClassVar[str] = ""
    # Raised whenever a change in the code changes a method's results, so that older runs are not taken for new ones;
    # here for a change that touches all methods, in a subclass for one of its own.
    revision: ClassVar[int] = 1
    counts: Tensor
    log_pi: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, problem: Problem, *, experts: int = 1, classifier: str = "linear") -> None:
        super().__init__()
        self.network = ExpertNetwork(
            problem.backbone,
            len(problem.counts),
            problem.channels,
            experts,
            problem.shared_depth,
            problem.branch_width,
            classifier,
        )
        self.register_buffer("counts", problem.counts.clone())
        self.register_buffer("log_pi", losses.log_prior(problem.counts))
        self.register_buffer("mean", torch.tensor(problem.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(problem.std).view(1, -1, 1, 1))
        self.progress = 0.0
        self.size = problem.size
        # Set by the run, so that a prediction computes as the training did.
        self.precision = "fp32"
        self._folded: tuple[object, ExpertNetwork] | None = None

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 ``[B, channels, H, W]`` to float with mean 0 and deviation 1 by channel."""
        return (images.float() - self.mean) / self.std

    def forward(self, images: Tensor) -> ExpertOutputs:
        """Run the network on uint8 images ``[B, channels, H, W]``."""
        return self.network(self.normalise(images))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """The scalar to minimise for one batch."""
        raise NotImplementedError

    def start_epoch(self, progress: float) -> None:
        """Told before each epoch which share of the training is done, 0 to 1."""
        self.progress = progress

    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        """Shown every training batch after its step, for methods that keep count."""

    def end_epoch(self) -> None:
        """Told after each epoch."""

    def diagnostics(self) -> dict[str, Any]:
        """What an epoch's record should hold beside loss and accuracy, JSON-ready."""
        return {}

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        """Detector log-odds ``[K, B]``; a method without detectors trusts every expert (``+inf``)."""
        return torch.full(outputs.logits.shape[:2], torch.inf, device=outputs.logits.device)

    def class_sets(self) -> Tensor:
        """bool ``[K, C]``: the classes each expert answers for."""
        return torch.ones(self.network.experts, len(self.counts), dtype=torch.bool, device=self.counts.device)

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        """One prediction from the experts; the mean of their logits unless a method says otherwise."""
        return fuse("mean", outputs.logits, self.log_odds(outputs), self.class_sets())

    def before_experts(self, shared: Tensor) -> Tensor:
        """Detector log-odds ``[K, B]`` from the pooled trunk ``[B, D0]`` alone, for sparse routing.

        Raises:
            ValueError: if the method has no such detectors.
        """
        raise ValueError("this method has no detectors to skip experts by; use dqroute with detector='trunk'")

    def asks(self, skip_below: float | None = None, sure_at: float | None = None) -> Ask | None:
        """The rule of sparse routing that :meth:`predict` follows; None if all experts are to run.

        Raises:
            ValueError: if both rules are asked for, or a threshold is out of range.
        """
        if skip_below is not None and sure_at is not None:
            raise ValueError("give skip_below or sure_at, not both")
        if skip_below is not None:
            return AskDetectors(self.before_experts, skip_below)
        return None if sure_at is None else AskUntilSure(sure_at)

    def network_for_prediction(self) -> ExpertNetwork:
        """The network folded and in the precision it was trained in; made anew when its weights have changed."""
        state = self.mean.device, self.precision, state_of(self.network)
        if self._folded is None or self._folded[0] != state:
            self._folded = state, for_prediction(self.network, uses_bf16(self.precision, self.mean.device))
        return self._folded[1]

    @torch.no_grad()
    def predict(
        self,
        images: Tensor | AnySplit | Iterable[Tensor],
        batch_size: int = 256,
        *,
        skip_below: float | None = None,
        sure_at: float | None = None,
    ) -> Prediction:
        """Classify uint8 images ``[N, channels, H, W]`` of the size the model was trained on.

        All experts run for every image, unless one of the two rules of sparse routing is chosen.

        Args:
            images: a tensor, tensors one after the other, or a split, whose files are read along the way.
            batch_size: images at a time.
            skip_below: leave an expert out where its detector, on the shared trunk, gives the image a smaller
                probability of being of its classes than this.
            sure_at: run the experts one after the other, and no further one where those that ran find a class so many
                times as probable as the runner-up; from 1.

        Raises:
            ValueError: if there are no images or they have another type, number of channels or size, if one cannot
                be read, if there are no detectors to skip experts by, or if both rules are asked for.
        """
        network, device = self.network_for_prediction(), self.mean.device
        number = next(network.trunk.parameters()).dtype
        ask = self.asks(skip_below, sure_at)
        rows = []
        for batch in in_batches(images, batch_size):
            self.check_images(batch)
            # In the network's layout from the start: a convolution would otherwise run in its input's.
            batch = batch.to(device).contiguous(memory_format=torch.channels_last)
            outputs = network(self.normalise(batch).to(number), ask)
            rows.append(self.answers(outputs))
        if not rows:
            raise ValueError("no images were given to classify")
        return Prediction(*(torch.cat(column).cpu() for column in zip(*rows, strict=True)))

    def check_images(self, images: Tensor) -> None:
        """Raise ValueError unless these are images that the model takes."""
        if self.size is not None and tuple(images.shape[2:]) != tuple(self.size):
            height, width = self.size
            raise ValueError(
                f"the model was trained on {height}x{width} images; got {list(images.shape)}; resize them first"
            )
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != self.mean.shape[1]:
            raise ValueError(
                f"predict takes uint8 images [N, {self.mean.shape[1]}, height, width]; "
                f"got {str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            )

    def answers(self, outputs: ExpertOutputs) -> Prediction:
        """What the outputs of a batch come to."""
        fusion = self.fuse(outputs)
        probabilities = fusion.log_probability.exp()
        probability, label = probabilities.max(dim=1)
        # In float64 a sigmoid still tells log-odds of 20 and 30 apart; detectors are ranked by it.
        confidence = self.log_odds(outputs).double().sigmoid().T
        alone = outputs.logits.argmax(dim=2).T
        ran = torch.ones_like(alone, dtype=torch.bool) if outputs.ran is None else outputs.ran.T
        together = outputs.logits.sum(dim=0).argmax(dim=1)
        alone = alone.masked_fill(~ran, -1)
        return Prediction(label, probability, fusion.expert_weights, confidence, probabilities, alone, together, ran)


def in_batches(images: Tensor | AnySplit | Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    """What :meth:`dqroute.Method.predict` is given, ``batch_size`` images at a time."""
    if isinstance(images, (Split, FileSplit)):
        yield from images.chunks(batch_size)
    else:
        for chunk in [images] if isinstance(images, Tensor) else images:
            yield from chunk.split(batch_size)


METHODS: dict[str, type[Method]] = {}
M = TypeVar("M", bound=type[Method])


def register(name: str) -> Callable[[M], M]:
    """Enter a method under a name; its docstring's first line becomes its summary."""

    def enter(method: M) -> M:
        method.summary = (method.__doc__ or "").strip().partition("\n")[0]
        METHODS[name] = method
        return method

    return enter


def method_options(name: str) -> dict[str, Any]:
    """The options a method takes, with their defaults.

    Raises:
        ValueError: for an unknown method, listing the valid ones.
    """
    parameters = inspect.signature(METHODS[choose("method", name, METHODS)].__init__).parameters
    return {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY}


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
        self.tau = tau

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :func:`dqroute.losses.logit_adjusted`."""
        return losses.logit_adjusted(outputs.logits[0], labels, self.log_pi, self.tau)


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
        """``Σ_k L(z_k, y) - λ · diversity``, ``L`` the base loss; see :func:`dqroute.losses.diversity`."""
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
        self.tau = tau

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
    """Difficulty-aware class weights and three nested experts, fused by their own detectors (Wei et al., 2025).

    Args:
        alpha: α, 0 weighs classes by frequency only, 1 by difficulty only.
        lam, gamma, smoothing, memory: of the :class:`~dqroute.difficulty.DifficultyTracker`.
        strength: tempers the class weights; see :func:`~dqroute.difficulty.combine_weights`.
        prior: the frequency prior, ``"inverse"`` or ``"effective"``.
        start: share of the training after which the class weights count.
        experts: ``K``, nested as :func:`~dqroute.long_tail.nested_class_sets` says.
        nesting: ``"soft"`` or ``"hard"``; see :func:`~dqroute.losses.dqroute`.
        detector: a name from :data:`~dqroute.detectors.DETECTORS`; detector_weight: μ of the joint loss.
        tau: strength of the prior in the classification terms.
        fusion: a name from :data:`~dqroute.routing.FUSIONS`; temperature: of the detectors' confidences there.
        classifier: ``"linear"`` or ``"cosine"``.
    """

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
        nesting: str = "soft",
        detector: str = "energy",
        detector_weight: float = 1 / 3,
        tau: float = 1.0,
        fusion: str = "logits",
        temperature: float = 1.0,
        classifier: str = "linear",
    ) -> None:
        super().__init__(problem, experts=experts, classifier=classifier)
        self.alpha, self.start = checked_range("alpha", alpha, 0, 1), checked_range("start", start, 0, 1)
        self.strength, self.tau = checked_range("strength", strength, 0), checked_range("tau", tau, 0)
        self.detector_weight = checked_range("detector_weight", detector_weight, 0)
        self.nesting = choose("nesting", nesting, ("soft", "hard"))
        if nesting == "hard" and fusion != "restricted":
            raise ValueError(
                "with nesting='hard' an expert's logits outside its classes are untrained; use fusion='restricted'"
            )
        self.fusion, self.temperature = choose("fusion rule", fusion, FUSIONS), checked_temperature(temperature)
        counts = problem.counts
        sets = nested_class_sets(problem.groups, counts, experts)
        widths = self.network.features, self.network.shared_features
        self.detectors = DetectorBank(detector, sets, len(counts), *widths)
        self.tracker = DifficultyTracker(len(counts), lam, gamma, smoothing, memory)
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
            self.log_pi,
            self.class_weights,
            self.image_weights,
            self.tau,
            self.detector_weight,
            self.nesting,
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
        log_odds = self.detectors(outputs)
        return log_odds if outputs.ran is None else log_odds.masked_fill(~outputs.ran, -torch.inf)

    def before_experts(self, shared: Tensor) -> Tensor:
        return self.detectors.before(shared)

    def class_sets(self) -> Tensor:
        return self.detectors.members

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        members = self.class_sets()
        logits = outputs.logits
        return fuse(self.fusion, logits, self.log_odds(outputs), members, self.temperature)
