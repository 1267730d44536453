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
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        by_muon = settings.optimizer == "muon"
        self.kernels = {n: p for n, p in model.named_parameters() if by_muon and p.ndim == 4}
        # Each shares its kernel's memory, so that what Muon does to the matrix is done to the kernel.
        self.matrices = {n: as_matrix(p.detach()) for n, p in self.kernels.items()}
        self.others = {n: p for n, p in model.named_parameters() if n not in self.kernels}
        decay, momentum = settings.weight_decay, settings.momentum
        groups = by_rate(self.others, settings.lr, settings.trunk_lr)
        main = (
            torch.optim.AdamW(groups, weight_decay=decay, fused=True)
            if settings.optimizer == "adamw"
            else torch.optim.SGD(groups, momentum=momentum, weight_decay=decay, nesterov=momentum > 0, fused=True)
        )
        self.optimizers: list[torch.optim.Optimizer] = [main]
        if self.matrices:
            groups = by_rate(self.matrices, settings.kernel_lr, settings.trunk_lr)
            self.optimizers.append(torch.optim.Muon(groups, weight_decay=settings.kernel_decay))

    def step(self, share: float) -> None:
        """Take one step down the gradients, at a share of the peak rates."""
        for name, kernel in self.kernels.items():
            self.matrices[name].grad = None if kernel.grad is None else as_matrix(kernel.grad)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share * group["factor"]
            optimizer.step()

    def held(self) -> dict[str, tuple[Tensor, dict[str, Any]]]:
        """What is changed for each parameter, itself or the kernel's matrix, and what its optimizer remembers of it."""
        held: dict[str, tuple[Tensor, dict[str, Any]]] = {}
        tensors: tuple[Mapping[str, Tensor], ...] = (self.others, self.matrices)
        for of_one, optimizer in zip(tensors, self.optimizers, strict=False):
            held |= {name: (tensor, optimizer.state[tensor]) for name, tensor in of_one.items()}
        return held

    def momenta(self) -> dict[str, Tensor]:
        """What the optimizers remember of each parameter, such as ``momentum_buffer.NAME``: a checkpoint's part."""
        held = self.held().items()
        return {f"{what}.{n}": v for n, (_, state) in held for what, v in state.items() if isinstance(v, Tensor)}

    def resume(self, momenta: dict[str, Tensor]) -> None:
        """Take up the momenta of a checkpoint."""
        held = self.held()
        for key, value in momenta.items():
            what, _, name = key.partition(".")
            like, state = held[name]
            # Strides as the parameter's: the fused optimizer would otherwise sum in another order.
            state[what] = torch.empty_like(like).copy_(value) if value.shape == like.shape else value.to(like.device)


def by_rate(tensors: Mapping[str, Tensor], peak: float, trunk_lr: float) -> list[dict[str, Any]]:
    """Tensors by parameter name as an optimizer's groups: the trunk's apart from the rest if its rate is another."""
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(trunk_lr if name.startswith("network.trunk.") else 1.0, []).append(tensor)
    return [{"params": members, "lr": peak, "peak": peak, "factor": factor} for factor, members in groups.items()]


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel ``[out, in, height, width]`` as ``[out, …]``, in the order it has in memory, without a copy.

    The columns' order does not matter to Muon: the nearest orthogonal matrix has its columns moved alike.
    """
    channels_last = kernel.is_contiguous(memory_format=torch.channels_last)
    return (kernel.permute(0, 2, 3, 1) if channels_last else kernel).flatten(1)
