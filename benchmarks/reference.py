"""The training loop that most people would write for this job, as something to compare the engine with.

torchvision transforms on PIL images, DataLoader workers, fp32 in the default memory layout, no compilation, the loss
read off the device at every step. Network, loss and optimizer settings are those of `dqroute`, so that only the
engine differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dqroute.data import FileSplit, ImageSet, ResizedCrop
from dqroute.data.image_set import AnySplit
from dqroute.methods.base import Method

WORKERS = os.cpu_count() or 1


class PilImages(Dataset[tuple[Tensor, int]]):
    """A split as PIL images, transformed one at a time; out of their files, if that is where they are."""

    def __init__(self, split: AnySplit, transform: transforms.Compose) -> None:
        self.files = [split.file(i) for i in range(len(split))] if isinstance(split, FileSplit) else []
        self.images = [] if self.files else [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in split.images]
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not self.files:
            return self.transform(self.images[index]), self.labels[index]
        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB")), self.labels[index]


def normalisation(mean: tuple[float, ...], std: tuple[float, ...]) -> list[Any]:
    """To a float tensor with mean 0 and deviation 1 by channel; mean and std from 0 to 255."""
    return [transforms.ToTensor(), transforms.Normalize(*([value / 255 for value in part] for part in (mean, std)))]


def augmentation(data: ImageSet) -> list[Any]:
    """The set's random changes, in torchvision's words."""
    chosen = data.augmentation
    assert chosen is not None
    crop: Any = (
        transforms.RandomResizedCrop(data.shape[1], chosen.scale, chosen.ratio)
        if isinstance(chosen, ResizedCrop)
        else transforms.RandomCrop(data.shape[1:], padding=chosen.padding)
    )
    return [crop] + [transforms.RandomHorizontalFlip()] * chosen.flip


def training_steps(model: Method, data: ImageSet, training: dict[str, Any]) -> Iterator[int]:
    """Train for ever; yields the number of images after each step.

    Args:
        model: untrained; data: the image set; training: a run's training settings.
    """
    transform = transforms.Compose([*augmentation(data), *normalisation(*pixels_of(model))])
    images = PilImages(data.train, transform)
    loader = DataLoader(images, training["batch_size"], shuffle=True, num_workers=WORKERS, persistent_workers=True)
    optimizer = torch.optim.SGD(
        model.parameters(),
        training["lr"],
        training["momentum"],
        weight_decay=training["weight_decay"],
        nesterov=True,
    )
    model.train()
    while True:
        total = 0.0
        for batch, labels in loader:
            outputs = model.network(batch)
            loss = model.loss(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.observe(outputs, labels)
            total += loss.item()
            yield len(labels)


def pixels_of(model: Method) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels that the model was made for."""
    return tuple(model.mean.flatten().tolist()), tuple(model.std.flatten().tolist())


@torch.no_grad()
def predicted_labels(model: Method, split: AnySplit, batch_size: int = 128) -> Tensor:
    """Predicted labels, ``[N]``."""
    square: list[Any] = []
    if isinstance(split, FileSplit):
        square = [transforms.Resize(split.size), transforms.CenterCrop(split.size)]
    images = PilImages(split, transforms.Compose([*square, *normalisation(*pixels_of(model))]))
    model.eval()
    loader = DataLoader(images, batch_size, num_workers=WORKERS)
    return torch.cat([model.fuse(model.network(batch)).log_probability.argmax(dim=1) for batch, _ in loader])
