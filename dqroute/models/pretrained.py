"""Weights that a backbone starts from: torchvision's own, or a safetensors file. Nothing is unpickled but tensors."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.models.backbones import CIFAR_DEPTHS, backbone_names, torchvision_network
from dqroute.models.experts import ExpertNetwork
from dqroute.models.trust import check_downloaded, sha256

IMAGENET = "imagenet"
# Of the two kinds that torchvision has of most networks the first: the one that published results start from.
KIND = "IMAGENET1K_V1"
COUNT = "num_batches_tracked"


def identity_of(source: str, backbone: str) -> str:
    """What tells the weights that a setting asks for from others, without reading them into memory or downloading them.

    ValueError if the backbone is none of torchvision's or the file not named ``.safetensors``, FileNotFoundError if
    there is no such file.
    """
    choose("backbone", backbone, backbone_names())
    if backbone in CIFAR_DEPTHS:
        raise ValueError(
            f"pretrained weights belong to torchvision's networks, and {backbone} is none of them; use backbone="
            "'resnet18' or a larger one, or leave pretrained out"
        )
    if source == IMAGENET:
        import torchvision

        return str(torchvision.models.get_model_weights(backbone)[KIND])
    file = Path(source).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; pretrained is 'imagenet', or the path of a safetensors file")
    if file.suffix != ".safetensors":
        raise ValueError(
            f"{file.name} does not end in .safetensors, and nothing else is read, because unpickling may run foreign "
            "code; write its state dict with safetensors.torch.save_file"
        )
    return f"sha256:{sha256(file)}"


def read_pretrained(source: str, backbone: str, channels: int) -> dict[str, Tensor]:
    """The weights that a setting asks for, by torchvision's names, in its network's order, without the classifier.

    The ``source`` is ``"imagenet"``: torchvision's weights of that backbone, downloaded once, their hash checked. Or
    the path of a safetensors file that holds torchvision's names: ``conv1.weight``, ``layer1.0.conv1.weight``, …

    ValueError and FileNotFoundError as :func:`identity_of`; also if the file is damaged or its weights are those of
    another network, or of one for images of other ``channels``, and if the download fails.
    """
    identity_of(source, backbone)  # refuses what is none
    try:
        given = downloaded(backbone) if source == IMAGENET else load_file(Path(source).expanduser())
    except SafetensorError as error:
        raise ValueError(
            f"{source} is truncated or not a safetensors file ({error}); fetch or write it again"
        ) from error
    # On the meta device the network has shapes and no memory.
    with torch.device("meta"):
        wanted = torchvision_network(backbone, channels).state_dict()
    has, needs = (
        {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.startswith("fc.")}
        for tensors in (given, wanted)
    )
    # Old files do not count the batches seen; the count is of no use here.
    other = sorted(n for n in has.keys() | needs.keys() if has.get(n) != needs.get(n) and not n.endswith(COUNT))
    if other:
        first = other[0]
        raise ValueError(
            f"pretrained={source!r} does not fit {backbone}: {len(other)} of its {len(needs)} tensors differ, such as "
            f"{first}, {has.get(first, 'missing')} there and {needs.get(first, 'unknown')} here; name weights of this "
            "very network, for images with as many channels"
        )
    return {name: given.get(name, torch.tensor(0)) for name in needs}


def downloaded(backbone: str) -> dict[str, Tensor]:
    """torchvision's own weights of a backbone, trained on ImageNet."""
    import torchvision

    weights = torchvision.models.get_model_weights(backbone)[KIND]
    check_downloaded(weights.url)
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # A failed download raises one of the first two, a wrong hash the third, a damaged file the fourth.
    except (URLError, OSError, RuntimeError, UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints"
        raise FileNotFoundError(
            f"torchvision's weights of {backbone} could not be had ({error}); check the network, or put {weights.url} "
            f"into {place} yourself in place of what is there, or name a safetensors file in pretrained"
        ) from error


@torch.no_grad()
def start_from(network: ExpertNetwork, weights: dict[str, Tensor]) -> None:
    """Put what :func:`read_pretrained` gives into the trunk, and the same into the branch of every expert."""
    for branch in network.branches:
        # Cut as it is, the network has its tensors in torchvision's order still.
        own = [*network.trunk.state_dict().values(), *branch.state_dict().values()]
        for target, value in zip(own, weights.values(), strict=True):
            target.copy_(value)
