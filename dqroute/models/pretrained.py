"""Weights that a backbone starts from: torchvision's own, or a safetensors file. Nothing is unpickled but tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dqroute.core.checks import choose
from dqroute.models.backbones import CIFAR_DEPTHS, backbone_names
from dqroute.models.experts import ExpertNetwork

IMAGENET = "imagenet"
# Of the two kinds that torchvision has of most networks the first: the one that published results start from.
KIND = "IMAGENET1K_V1"
COUNT = "num_batches_tracked"


class Pretrained(NamedTuple):
    """Weights to start from.

    Attributes:
        identity: tells them from others, and holds no path: torchvision's name for them, or the file's SHA-256.
        tensors: by torchvision's names.
    """

    identity: str
    tensors: dict[str, Tensor]


def identity_of(source: str, backbone: str) -> str:
    """What tells the weights that a setting asks for from others, without reading them into memory or downloading them.

    Raises:
        ValueError: if the backbone is none of torchvision's, or the file no safetensors file by its name.
        FileNotFoundError: if there is no such file.
    """
    check_backbone(backbone)
    if source == IMAGENET:
        return str(enumerated(backbone))
    with open(existing(source), "rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def read_pretrained(source: str, backbone: str, channels: int) -> Pretrained:
    """The weights that a setting asks for, without the classifier: it knows other classes.

    Args:
        source: ``"imagenet"``: torchvision's weights of that backbone, downloaded once, their hash checked. Or the path
            of a safetensors file that holds torchvision's names: ``conv1.weight``, ``layer1.0.conv1.weight``, …
        backbone: one of torchvision's, see :func:`dqroute.models.backbones.backbone_names`.
        channels: of the images.

    Raises:
        ValueError: if the backbone is none of torchvision's, the file is damaged, or its weights are another network's.
        FileNotFoundError: if there is no such file, or the download fails.
    """
    check_backbone(backbone)
    tensors = torchvisions(backbone) if source == IMAGENET else read_safetensors(existing(source))
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    # On the meta device the network has shapes and no memory.
    with torch.device("meta"):
        shapes = by_torchvisions_names(ExpertNetwork(backbone, 1, channels))
    check_shapes(given, {name: tensors[0] for name, tensors in shapes.items()}, source, backbone)
    return Pretrained(identity_of(source, backbone), given)


def check_backbone(backbone: str) -> None:
    """Raise ValueError unless there can be pretrained weights of a backbone."""
    choose("backbone", backbone, backbone_names())
    if backbone in CIFAR_DEPTHS:
        raise ValueError(
            f"pretrained weights belong to torchvision's networks, and {backbone} is none of them; use backbone="
            "'resnet18' or a larger one, or leave pretrained out"
        )


def enumerated(backbone: str) -> Any:
    """torchvision's entry for the weights of a backbone: their name, and where they come from."""
    import torchvision

    return torchvision.models.get_model_weights(backbone)[KIND]


def torchvisions(backbone: str) -> dict[str, Tensor]:
    """torchvision's own weights of a backbone, trained on ImageNet."""
    weights = enumerated(backbone)
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # A failed download raises one of the first two, a wrong hash the third, a damaged file the fourth.
    except (URLError, OSError, RuntimeError, UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints"
        raise FileNotFoundError(
            f"torchvision's weights of {backbone} could not be had ({error}); check the network, or put {weights.url} "
            f"into {place} yourself in place of what is there, or name a safetensors file in pretrained"
        ) from error


def existing(source: str) -> Path:
    """The safetensors file of that path."""
    file = Path(source).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; pretrained is 'imagenet', or the path of a safetensors file")
    if file.suffix != ".safetensors":
        raise ValueError(
            f"{file.name} does not end in .safetensors, and nothing else is read, because unpickling may run foreign "
            "code; write its state dict with safetensors.torch.save_file"
        )
    return file


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file; ValueError naming it if it is damaged."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is truncated or not a safetensors file ({error}); fetch or write it again") from error


def check_shapes(given: dict[str, Tensor], wanted: dict[str, Tensor], source: str, backbone: str) -> None:
    """Raise ValueError unless the weights are those of the backbone, by names and shapes."""
    has, needs = ({n: tuple(t.shape) for n, t in tensors.items()} for tensors in (given, wanted))
    # Old files do not count the batches seen; the count is of no use here.
    other = sorted(n for n in has.keys() | needs.keys() if has.get(n) != needs.get(n) and not n.endswith(COUNT))
    if other:
        first = other[0]
        raise ValueError(
            f"pretrained={source!r} does not fit {backbone}: {len(other)} of its {len(needs)} tensors differ, such as "
            f"{first}, {has.get(first, 'missing')} there and {needs.get(first, 'unknown')} here; name weights of this "
            "very network, for images with as many channels"
        )


def start_from(network: ExpertNetwork, weights: Pretrained) -> None:
    """Put pretrained weights into the trunk, and the same ones into the branch of every expert."""
    with torch.no_grad():
        for name, targets in by_torchvisions_names(network).items():
            for target in targets:
                if name in weights.tensors:
                    target.copy_(weights.tensors[name])


def by_torchvisions_names(network: ExpertNetwork) -> dict[str, list[Tensor]]:
    """A network's weights and statistics by torchvision's names: one tensor of the trunk, or one of each branch."""
    stem = network.trunk[0]
    assert isinstance(stem, nn.Sequential)  # conv1, bn1, relu, maxpool, layer1: see torchvision_resnet
    parts: dict[str, list[nn.Module]] = {"conv1": [stem[0]], "bn1": [stem[1]], "layer1": [stem[4]]}
    shared = len(network.trunk)
    for index in range(1, 4):
        owners = [network.trunk] if index < shared else list(network.branches)
        place = index if index < shared else index - shared
        parts[f"layer{index + 1}"] = [owner[place] for owner in owners]  # type: ignore[index]
    return {
        f"{part}.{name}": [module.state_dict()[name] for module in modules]
        for part, modules in parts.items()
        for name in modules[0].state_dict()
    }
