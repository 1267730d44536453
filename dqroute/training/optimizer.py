"""How the weights are changed: SGD with Nesterov momentum for all, or Muon for the convolutions' kernels beside it."""

from __future__ import annotations

from collections import defaultdict
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn

from dqroute.training.settings import Settings

# Of Jordan et al.: they bring singular values from 0.002 up to near 1 in five iterations.
A, B, C, ITERATIONS = 3.4445, -4.7750, 2.0315, 5
MUON_MOMENTUM = 0.95


class Updates:
    """The optimizers of one training, driven by one schedule.

    Muon (Jordan et al., 2024) turns the momentum of a matrix into the nearest orthogonal matrix before it takes the
    step: every direction a kernel can change in then changes by the same amount, those that few images ask for too. A
    kernel ``[out, in, height, width]`` is the matrix ``[out, in · height · width]``. Biases, norms and classifiers are
    no such matrices and stay with SGD. Numbers as by ``torch.optim.Muon``, to the last bit on a CPU; there one matrix
    comes after the other, and a GPU mostly waits.

    Args:
        model: whose parameters change.
        settings: ``optimizer``, ``lr``, ``momentum``, ``weight_decay``, ``kernel_lr``, ``kernel_decay``, ``trunk_lr``.
    """

    def __init__(self, model: nn.Module, settings: Settings) -> None:
        self.settings, self.parameters = settings, dict(model.named_parameters())
        by_muon = settings.optimizer == "muon"
        self.kernels = {n: p for n, p in self.parameters.items() if by_muon and p.ndim == 4}
        self.held: dict[str, Tensor] = {}
        # Kernels of one shape and rate take their step together.
        self.alike: dict[tuple[torch.Size, float], list[str]] = defaultdict(list)
        rates: dict[float, list[Tensor]] = defaultdict(list)
        for name, parameter in self.parameters.items():
            factor = settings.trunk_lr if name.startswith("network.trunk.") else 1.0
            if name in self.kernels:
                self.alike[as_matrix(parameter).shape, factor].append(name)
            else:
                rates[factor].append(parameter)
        self.sgd = torch.optim.SGD(
            [{"params": members, "factor": factor} for factor, members in rates.items()],
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
            fused=True,
        )

    def step(self, share: float) -> None:
        """Take one step down the gradients, at a share of the peak rates."""
        for group in self.sgd.param_groups:
            group["lr"] = self.settings.lr * share * group["factor"]
        self.sgd.step()
        for (shape, factor), names in self.alike.items():
            self.muon_step(names, shape, share * factor)

    @torch.no_grad()
    def muon_step(self, names: list[str], shape: torch.Size, share: float) -> None:
        """A step of Muon for kernels whose matrices have one shape: a few large products in place of many small."""
        gradients = [as_matrix(cast(Tensor, self.kernels[name].grad)) for name in names]
        for name, gradient in zip(names, gradients, strict=True):
            self.held.setdefault(name, torch.zeros_like(gradient))
        momenta, rate = [self.held[name] for name in names], self.settings.kernel_lr * share
        torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM)
        turned = list(orthogonal(torch.stack(ahead)).float())
        matrices = [as_matrix(self.kernels[name].detach()) for name in names]
        torch._foreach_mul_(matrices, 1 - rate * self.settings.kernel_decay)
        torch._foreach_add_(matrices, turned, alpha=-rate * sqrt(max(1, shape[0] / shape[1])))

    def momenta(self) -> dict[str, Tensor]:
        """The momentum of each parameter that has one yet, by its name: what a checkpoint has to hold."""
        by_sgd = {name: self.sgd.state.get(p, {}).get("momentum_buffer") for name, p in self.parameters.items()}
        return {name: held for name, held in by_sgd.items() if held is not None} | self.held

    def resume(self, momenta: dict[str, Tensor]) -> None:
        """Take up the momenta of a checkpoint."""
        for name, held in momenta.items():
            if name in self.kernels:
                self.held[name] = held.to(self.kernels[name].device)
            else:
                # Strides as the parameter's: the fused optimizer would otherwise sum in another order.
                like = self.parameters[name]
                self.sgd.state[like]["momentum_buffer"] = torch.empty_like(like).copy_(held)


def orthogonal(matrices: Tensor) -> Tensor:
    """Near the nearest orthogonal matrix of each of ``[N, rows, columns]``, in bfloat16.

    Iterates ``X ← A X + (B X Xᵀ + C (X Xᵀ)²) X`` from ``X / |X|``; singular values end up between 0.7 and 1.2.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.mT if tall else x


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel ``[out, in, height, width]`` as ``[out, …]``, in the order it has in memory, without a copy.

    The columns' order does not matter to Muon: the nearest orthogonal matrix has its columns moved alike.
    """
    channels_last = kernel.is_contiguous(memory_format=torch.channels_last)
    return (kernel.permute(0, 2, 3, 1) if channels_last else kernel).flatten(1)
