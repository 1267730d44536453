"""How the weights are changed: SGD with Nesterov momentum or AdamW for all, or Muon for the kernels beside SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dqroute.training.settings import Settings


class Updates:
    """The optimizers of one training, driven by one schedule.

    Muon (Jordan et al., 2024) turns the momentum of a matrix into the nearest orthogonal matrix before it takes the
    step: every direction a kernel can change in then changes by the same amount, those that few images ask for too. A
    kernel ``[out, in, height, width]`` is the matrix ``[out, in · height · width]``. Biases, norms and classifiers are
    no such matrices and stay with SGD.

    Args:
        model: whose parameters change.
        settings: ``optimizer``, ``lr``, ``momentum``, ``weight_decay``, ``kernel_lr``, ``kernel_decay``, ``trunk_lr``.
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        self.settings = settings
        by_muon = settings.optimizer == "muon"
        self.kernels = {n: p for n, p in model.named_parameters() if by_muon and p.ndim == 4}
        self.others = {n: p for n, p in model.named_parameters() if n not in self.kernels}
        groups = by_rate(self.others, settings.trunk_lr)
        rate, decay, momentum = settings.lr, settings.weight_decay, settings.momentum
        self.main: torch.optim.Optimizer = (
            torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
            if settings.optimizer == "adamw"
            else torch.optim.SGD(
                groups, lr=rate, momentum=momentum, weight_decay=decay, nesterov=momentum > 0, fused=True
            )
        )
        # Each shares its kernel's memory, so that what Muon does to the matrix is done to the kernel.
        self.matrices = {n: as_matrix(p.detach()) for n, p in self.kernels.items()}
        self.muon = (
            torch.optim.Muon(
                by_rate(self.matrices, settings.trunk_lr), lr=settings.kernel_lr, weight_decay=settings.kernel_decay
            )
            if self.matrices
            else None
        )

    def step(self, share: float) -> None:
        """Take one step down the gradients, at a share of the peak rates."""
        for group in self.main.param_groups:
            group["lr"] = self.settings.lr * share * group["factor"]
        self.main.step()
        if self.muon is not None:
            for name, kernel in self.kernels.items():
                self.matrices[name].grad = None if kernel.grad is None else as_matrix(kernel.grad)
            for group in self.muon.param_groups:
                group["lr"] = self.settings.kernel_lr * share * group["factor"]
            self.muon.step()

    def momenta(self) -> dict[str, Tensor]:
        """What the optimizers remember of each parameter, such as ``momentum_buffer.NAME``: a checkpoint's part."""
        names = (*self.others, *self.kernels)
        held = {name: self._state(name) for name in names}
        return {f"{what}.{name}": v for name in names for what, v in held[name].items() if isinstance(v, Tensor)}

    def resume(self, momenta: dict[str, Tensor]) -> None:
        """Take up the momenta of a checkpoint."""
        for key, held in momenta.items():
            what, _, name = key.partition(".")
            like = self.matrices[name] if name in self.kernels else self.others[name]
            # Strides as the parameter's: the fused optimizer would otherwise sum in another order.
            same = held.shape == like.shape
            self._state(name)[what] = torch.empty_like(like).copy_(held) if same else held.to(like.device)

    def _state(self, name: str) -> dict[str, Tensor]:
        if name in self.kernels and self.muon is not None:
            return self.muon.state[self.matrices[name]]
        return self.main.state[self.others[name]]


def by_rate(tensors: Mapping[str, Tensor], trunk_lr: float) -> list[dict[str, Any]]:
    """Tensors by parameter name as an optimizer's groups: the trunk's apart from the rest if its rate is another."""
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in tensors.items():
        factor = trunk_lr if name.startswith("network.trunk.") else 1.0
        groups.setdefault(factor, []).append(tensor)
    return [{"params": members, "factor": factor} for factor, members in groups.items()]


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel ``[out, in, height, width]`` as ``[out, …]``, in the order it has in memory, without a copy.

    The columns' order does not matter to Muon: the nearest orthogonal matrix has its columns moved alike.
    """
    channels_last = kernel.is_contiguous(memory_format=torch.channels_last)
    return (kernel.permute(0, 2, 3, 1) if channels_last else kernel).flatten(1)
