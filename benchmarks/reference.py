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

from dqroute.data import ImageSet, Split
from dqroute.methods import Method

WORKERS = os.cpu_count() or 1


class PilImages(Dataset[tuple[Tensor, int]]):
    """A split as PIL images, transformed one at a time."""

    def __init__(self, split: Split, transform: transforms.Compose) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in split.images]
        self.labels = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def normalisation(model: Method) -> list[Any]:
    """To a float tensor with mean 0 and deviation 1 by channel."""
    mean, std = (value.flatten().div(255).tolist() for value in (model.mean, model.std))
    return [transforms.ToTensor(), transforms.Normalize(mean, std)]


def training_steps(model: Method, data: ImageSet, training: dict[str, Any]) -> Iterator[int]:
    """Train for ever; yields the number of images after each step.

    Args:
        model: untrained; data: the image set; training: a run's training settings.
    """
    augment: list[Any] = [transforms.RandomCrop(data.shape[1:], padding=data.augmentation.padding)]
    if data.augmentation.flip:
        augment.append(transforms.RandomHorizontalFlip())
    images = PilImages(data.train, transforms.Compose([*augment, *normalisation(model)]))
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


@torch.no_grad()
def predicted_labels(model: Method, split: Split, batch_size: int = 128) -> Tensor:
    """Predicted labels, ``[N]``."""
    images = PilImages(split, transforms.Compose(normalisation(model)))
    model.eval()
    loader = DataLoader(images, batch_size, num_workers=WORKERS)
    return torch.cat([model.fuse(model.network(batch)).log_probability.argmax(dim=1) for batch, _ in loader])
