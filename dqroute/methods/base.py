"""What a method is: a network, a loss, and how it predicts. The methods there are stand in the files beside."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from pydantic import ConfigDict, Field, GetPydanticSchema
from pydantic_core.core_schema import no_info_after_validator_function
from torch import Tensor, nn

from dqroute.core.checks import checked_whole, choose, shown
from dqroute.core.long_tail import ShotGroups
from dqroute.core.losses import log_prior
from dqroute.core.outputs import ExpertOutputs, mean_logits
from dqroute.core.routing import Fusion, fuse
from dqroute.data.feature_set import BATCH, as_wanted, pictures, projected
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit
from dqroute.measures.calibration import Calibration
from dqroute.measures.worlds import Shares, balanced_shares, reweighed, shares_in
from dqroute.methods.prediction import Judged, Prediction
from dqroute.models.device import keep_freed_memory, uses_bf16
from dqroute.models.encoders import Encoder, is_encoder, loaded
from dqroute.models.experts import COSINE_SCALE, ExpertNetwork
from dqroute.models.folding import Folded
from dqroute.models.heads import Heads

Images = Tensor | AnySplit | Iterable[Tensor]
# True is no number, 3.0 no whole number, NaN and infinity are nothing, and a foreign name is an error.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
CLASSES = 100_000
Text = Annotated[str, Field(max_length=1000)]
Width = Annotated[int, Field(ge=0, le=65_536)]
Side = Annotated[int, Field(ge=1, le=16_384)]
Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=64)]
Whole = Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(min_length=1, max_length=CLASSES)]
Counts = Annotated[Tensor, GetPydanticSchema(lambda _, of: no_info_after_validator_function(torch.tensor, of(Whole)))]


@dataclass(frozen=True)
class EncoderNeeds:
    """The encoder that a network's features come from; see :class:`dqroute.data.image_set.Encoding`.

    Attributes:
        weights: their SHA-256; size, interpolation: how it wants its pictures.
        width: of its features; components: how many numbers the network reads of them.
    """

    __pydantic_config__: ClassVar = STRICT
    weights: Text
    size: Side
    interpolation: Text
    width: Width
    components: Width


@dataclass(frozen=True)
class Problem:
    """What a method has to know before it is built.

    Attributes:
        counts: training images per class, ``[C]``; groups: the shot groups.
        channels: of the images; mean, std: their pixels' mean and standard deviation by channel, in 0 to 255.
        backbone, shared_depth, branch_width, tune, components, scale: see
            :class:`~dqroute.models.experts.ExpertNetwork`.
        size: height and width of the images, which prediction asks for again; None takes any.
        fit: how pictures became squares, see :func:`dqroute.data.files.decoding.read_rgb`.
        encoder: where the network reads the features of a pretrained encoder: what prediction from pictures needs.
        folds: how many sets of heads there are beside the last, each of which never sees its fold; with features only.
        difficulty: the error rate of each class, where the data set knows it: for methods that are told the truth.
    """

    __pydantic_config__: ClassVar = STRICT
    counts: Counts
    groups: ShotGroups
    channels: Annotated[int, Field(ge=1, le=64)]
    mean: Channels
    std: Channels
    backbone: Text = "resnet8"
    shared_depth: Annotated[int, Field(ge=1, le=100)] = 1
    branch_width: Annotated[float, Field(ge=0.05, le=16)] = 1.0
    size: Annotated[tuple[Side, ...], Field(max_length=3)] | None = None
    tune: Text | int = "all"
    components: Width = 0
    encoder: EncoderNeeds | None = None
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    difficulty: Annotated[tuple[float, ...], Field(max_length=CLASSES)] | None = None
    scale: Annotated[float, Field(ge=0.1, le=1000)] = COSINE_SCALE
    fit: Text = "crop"

    def to_json(self) -> dict[str, Any]:
        """The problem as plain values."""
        return asdict(self) | {"counts": self.counts.tolist()}


class Method(nn.Module):
    """Base of all methods: a network, the mean of its experts' logits as prediction, and no loss yet.

    ``experts`` is ``K``; ``classifier`` is ``"linear"``, ``"cosine"``, or ``"auto"``: cosine behind a pretrained
    encoder, else linear; ``gaussian`` the ridge of a further expert, see :meth:`dqroute.models.heads.Heads.meet`.
    """

    summary: ClassVar[str] = ""
    # Whose predictions difficulty and fusion are learned from.
    judge: str = "out-of-fold"
    # Raised whenever a change in the code changes a method's results, so that older runs are not taken for new ones;
    # here for a change that touches all methods, in a subclass for one of its own.
    revision: ClassVar[int] = 1
    # Whether there is anything to train, or all is worked out from the features at once.
    trained: ClassVar[bool] = True
    # Whether an image's loss depends on the others of its batch: then each set of heads has a loss of its own.
    by_batch: ClassVar[bool] = False
    # α of the Beta(α, α) by which images are mixed in pairs while training (mixup, Zhang et al., 2018); 0 leaves them.
    mixup: float = 0.0
    mean: Tensor
    std: Tensor
    network: ExpertNetwork | Heads

    def __init__(
        self, problem: Problem, *, experts: int = 1, classifier: str = "auto", gaussian: float | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.needs, needs = problem.backbone, problem.encoder, problem.encoder
        scratch = not is_encoder(problem.backbone)
        self.classifier = kind = ("linear" if scratch else "cosine") if classifier == "auto" else classifier
        experts, classes = checked_whole("experts", experts, 0 if gaussian is not None else 1), len(problem.counts)
        if needs is not None:
            self.network = Heads(needs.components, classes, experts, problem.folds, kind, gaussian, problem.scale)
            self.centre, self.scale = nn.Buffer(torch.zeros(needs.width)), nn.Buffer(torch.ones(needs.width))
            self.axes = nn.Buffer(torch.zeros(needs.width, needs.components))
        else:
            self.network = ExpertNetwork(
                *(problem.backbone, classes, problem.channels, experts),
                *(problem.shared_depth, problem.branch_width, kind),
                tune=problem.tune,
                components=problem.components,
                scale=problem.scale,
            )
        self.counts, self.log_pi = nn.Buffer(problem.counts.clone()), nn.Buffer(log_prior(problem.counts))
        self.mean, self.std = (nn.Buffer(torch.tensor(x).view(1, -1, 1, 1)) for x in (problem.mean, problem.std))
        self.progress = 0.0
        self.size, self.fit = problem.size, problem.fit
        # Set by the run to what its training was asked for; "auto" is settled by the machine that predicts.
        self.precision = "fp32"
        self._folded = Folded()
        self.calibration = Calibration(problem.groups.of_class())
        # How common the shot groups are where the model is used, once it was adapted.
        self.shares = nn.Buffer(balanced_shares(self.calibration.rings), persistent=False)

    @classmethod
    def settled(cls, options: dict[str, Any], folds: int | None, scratch: bool = True) -> dict[str, Any]:
        """The options with what ``"auto"`` comes to, with so many ``folds`` of features; None is end to end.

        End to end ``scratch`` says whether it starts from nothing.
        """
        if options.get("classifier") == "auto":
            options = options | {"classifier": "linear" if folds is None and scratch else "cosine"}
        return options

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 ``[B, channels, H, W]`` to float with mean 0 and deviation 1 by channel; features stay as they are."""
        return images if images.ndim == 2 else (images.float() - self.mean) / self.std

    @property
    def encoder(self) -> Encoder:
        """The encoder that the network was trained behind; ValueError if the one here has other weights."""
        assert self.needs is not None
        encoder = loaded(self.backbone)
        if encoder.weights != self.needs.weights:
            raise ValueError(
                f"the weights of {self.backbone} here are not those that this model was trained behind; install them "
                "again as they were, or train it anew"
            )
        return encoder

    def encode(self, pictures: Tensor) -> Tensor:
        """The features that the network reads, ``[B, D]``, of uint8 pictures ``[B, 1 or 3, H, W]``."""
        assert self.needs is not None
        rows = self.encoder.to(self.mean.device)(as_wanted(pictures, self.needs.size, self.needs.interpolation))
        return projected(rows, self.centre, self.scale, self.axes)

    def settle(self, judged: Judged) -> None:
        """Told at the end what the experts say of training images, out of fold where there are folds."""
        self.calibration.fit(judged.logits.mean(dim=0), judged.labels)

    def forward(self, images: Tensor) -> ExpertOutputs:
        """Run the network on uint8 images ``[B, channels, H, W]``."""
        return self.network(self.normalise(images))

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """The scalar to minimise for one batch."""
        raise NotImplementedError

    def start_epoch(self, progress: float) -> None:
        """Told before each epoch which share of the training is done, 0 to 1; again, when one is gone on with."""
        self.progress = progress

    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        """Shown every training batch after its step, for methods that keep count."""

    def end_epoch(self) -> None:
        """Told after each epoch."""

    def diagnostics(self) -> dict[str, Any]:
        """What an epoch's record should hold beside loss and accuracy, JSON-ready."""
        return {}

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        """Detector log-odds ``[K, B]``; without detectors all are ``+inf``."""
        return torch.full(outputs.logits.shape[:2], torch.inf, device=outputs.logits.device)

    def class_sets(self) -> Tensor:
        """bool ``[K, C]``: the classes each expert answers for."""
        return torch.ones(self.network.experts, len(self.counts), dtype=torch.bool, device=self.counts.device)

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        """One prediction from the experts; the mean of their logits unless a method says otherwise."""
        return fuse("mean", outputs.logits, self.log_odds(outputs), self.class_sets())

    def adapt(self, images: Images | None, batch_size: int = 256) -> Shares:
        """Predict from now on for the world that these unlabelled images come from, as for :meth:`predict`.

        How common the shot groups are there is estimated from what the model says of them
        (:func:`dqroute.measures.worlds.ring_shares`); None goes back to balanced classes. So does an estimate that is
        unsure, and a warning says so.
        """
        balanced = balanced_shares(self.calibration.rings)
        self.shares.copy_(balanced)
        if images is None:
            return Shares(balanced, torch.zeros_like(balanced))
        log_p = self.predict(images, batch_size).probabilities.log()
        found = shares_in(log_p, self.calibration.rings.cpu())
        if found.sure:
            self.shares.copy_(found.share)
        else:
            warnings.warn(found.doubt(len(log_p)), stacklevel=2)
        return found

    @contextmanager
    def unadapted(self) -> Iterator[None]:
        """Predict for balanced classes meanwhile, whatever world the model was adapted to."""
        adapted = self.shares.clone()
        self.shares.copy_(balanced_shares(self.calibration.rings))
        try:
            yield
        finally:
            self.shares.copy_(adapted)

    def network_for_prediction(self) -> ExpertNetwork | Heads:
        """The network folded and in its ``precision``, as this machine has it; anew when its weights have changed."""
        keep_freed_memory()
        if isinstance(self.network, Heads):
            return self.network
        return self._folded(self.network, uses_bf16(self.precision, self.mean.device))

    @torch.no_grad()
    def predict(self, images: Images, batch_size: int = 256) -> Prediction:
        """Classify uint8 images ``[N, channels, H, W]`` of the size the model was trained on.

        They are a tensor, tensors one after the other, or a split, whose files are read along the way. Behind a
        pretrained encoder pictures may have any size; what is known of them, features ``[N, D]``, will do too.
        ValueError if there are none, or they have another type, number of channels or size, or one cannot be read.
        """
        network = self.network_for_prediction()
        if self.needs is not None and isinstance(images, FileSplit):
            batch = BATCH if self.mean.device.type == "cpu" else batch_size
            images = pictures(images, range(len(images)), self.needs.size, self.needs.interpolation, batch)
        rows = [self.answers(self.outputs(batch, network)) for batch in in_batches(images, batch_size)]
        if not rows:
            raise ValueError("no images were given to classify")
        return Prediction(*(torch.cat(column).cpu() for column in zip(*rows, strict=True)))

    @torch.no_grad()
    def outputs(self, images: Tensor, network: ExpertNetwork | Heads | None = None) -> ExpertOutputs:
        """What the experts say of a batch of images or features; errors as of :meth:`predict`.

        Who asks for many batches gives the ``network``, from :meth:`network_for_prediction`.
        """
        if self.needs is not None and images.ndim == 2:
            finite = bool(torch.isfinite(images).all())
            if images.shape[1] != self.needs.components or not finite:
                got = f"{list(images.shape)}{'' if finite else ' with NaN'}"
                raise ValueError(f"this model reads features [N, {self.needs.components}], finite; got {got}")
            return self.network(images.to(self.mean.device).float())
        if images.ndim == 4 and self.size is not None and tuple(images.shape[2:]) != tuple(self.size):
            height, width = self.size
            raise ValueError(
                f"the model was trained on {height}x{width} images; got {list(images.shape)}; resize them first"
            )
        channels = [self.mean.shape[1]] if self.needs is None else [1, 3]
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in channels:
            raise ValueError(
                f"predict takes uint8 images [N, {channels[-1]}, height, width]; "
                f"got {str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
                f"{'; put one image in a batch: image[None]' if images.ndim == 3 else ''}"
            )
        network = network or self.network_for_prediction()
        if isinstance(network, Heads):
            return network(self.encode(images))
        # In the network's layout from the start: a convolution would otherwise run in its input's.
        images = images.to(self.mean.device).contiguous(memory_format=torch.channels_last)
        return network(self.normalise(images).to(next(network.trunk.parameters()).dtype))

    def answers(self, outputs: ExpertOutputs) -> Prediction:
        """What the outputs of a batch come to."""
        fusion = self.fuse(outputs)
        probabilities = reweighed(fusion.log_probability, self.calibration.rings, self.shares).exp()
        probability, label = probabilities.max(dim=1)
        # In float64 a sigmoid still tells log-odds of 20 and 30 apart; detectors are ranked by it.
        confidence = self.log_odds(outputs).double().sigmoid().T
        alone, mean = outputs.logits.argmax(dim=2).T, mean_logits(outputs)
        together, calibrated = mean.argmax(dim=1), self.calibration(mean).argmax(dim=1)
        return Prediction(
            *(label, probability, fusion.expert_weights, confidence, probabilities), *(alone, together, calibrated)
        )


def in_batches(images: Images, batch_size: int) -> Iterator[Tensor]:
    """What :meth:`dqroute.Method.predict` is given, ``batch_size`` images at a time."""
    checked_whole("batch_size", batch_size, 1)
    if isinstance(images, AnySplit):
        yield from images.chunks(batch_size)
    else:
        for chunk in [images] if isinstance(images, Tensor) else images:
            if not isinstance(chunk, Tensor):
                raise ValueError(f"predict takes images as tensors, or a split of a set; got {type(chunk).__name__}")
            yield from chunk.split(batch_size)


METHODS: dict[str, type[Method]] = {}
M = TypeVar("M", bound=type[Method])


def register(name: str) -> Callable[[M], M]:
    """Enter a method under a name; its docstring's first line becomes its summary."""
    if not isinstance(name, str):
        raise ValueError(f"a method is registered under a name, as by @register('mine'); got {shown(name)}")

    def enter(method: M) -> M:
        method.summary = (method.__doc__ or "").strip().partition("\n")[0]
        METHODS[name] = method
        return method

    return enter


def method_options(name: str) -> dict[str, Any]:
    """The options a method takes, with their defaults; ValueError for an unknown method, listing the valid ones."""
    return {p.name: p.default for p in option_parameters(name)}


def option_parameters(name: str) -> list[inspect.Parameter]:
    """The same as parameters, with their types."""
    parameters = inspect.signature(METHODS[choose("method", name, METHODS)].__init__).parameters
    return [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
