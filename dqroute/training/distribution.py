"""Several processes that train one network, each with a share of every batch, to the numbers of one process.

``accelerate launch`` and ``notebook_launcher`` start them; :func:`dqroute.fit` notices. Each process runs the network
on its share; then all outputs are gathered, and every process computes the loss, the training accuracy and a method's
own counts from the whole batch. So no loss and no method has to know of it, and no process trains on another difficulty
than the others. Batch norms take mean and variance over all shares.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dqroute.methods.base import Method
from dqroute.models.device import is_main, precision_context
from dqroute.core.outputs import ExpertOutputs
from dqroute.runs.locking import only_process


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: number ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def as_main_says(self, question: Callable[[], bool]) -> bool:
        """The main process's answer, in all of them: a file may change between one look and the next."""
        answer = [question() if self.main else False]
        if self.count > 1:
            dist.broadcast_object_list(answer)
        return answer[0]

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The others do what follows after the main process has."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    @contextmanager
    def alone_in(self, folder: Path) -> Iterator[None]:
        """They have the folder to themselves: the main process waits for the lock, the others for its word.

        It gives it every minute, because a process that hears nothing for ten or thirty of them gives up.
        """
        if self.main:
            with only_process(folder, lambda: self.as_main_says(lambda: False)):
                self.as_main_says(lambda: True)
                yield
        else:
            while not self.as_main_says(lambda: True):
                pass
            yield


def joined(on_cpu: bool) -> Processes:
    """Join the processes that were launched together, if there are any.

    Args:
        on_cpu: whether to train on CPUs where there are GPUs.
    """
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE") or "1") == 1:
        return Processes()
    # Here, because most trainings have one process and can do without.
    from accelerate import PartialState

    state = PartialState(cpu=on_cpu or not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes)


class _Sum(torch.autograd.Function):
    """The sum over processes; so is its gradient's."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0].contiguous())


class _Whole(torch.autograd.Function):
    """The shares of all processes along dimension 0, in order; the gradient is the own share's, times their number.

    Every process computes the same loss from the whole. Averaged over processes, as DistributedDataParallel does, the
    gradients of the network's parameters then add up to the whole batch's, and those of parameters behind the gathering
    stay what they are.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes, ctx.rank = sizes, dist.get_rank()
        padded = share.new_zeros(max(sizes), *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        own = gradients[0].split(ctx.sizes)[ctx.rank]
        return own * len(ctx.sizes), None


def whole(share: Tensor, total: int, dim: int = 0) -> Tensor:
    """The whole batch from each process's share of it.

    Args:
        share: with ``dim`` along the images, as :func:`dqroute.data.batches.share_of` cut them; total: images of all.
    """
    sizes = [len(part) for part in torch.arange(total).tensor_split(dist.get_world_size())]
    return _Whole.apply(share.movedim(dim, 0).contiguous(), sizes).movedim(0, dim)


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the images of all processes, for CPUs; torch's own SyncBatchNorm runs on GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        inner = (0, 2, 3)
        values = x.float()
        counted = torch.cat([values.sum(inner), values.new_tensor([values.numel() / values.shape[1]])])
        total = _Sum.apply(counted)
        images, mean = total[-1].detach(), total[:-1] / total[-1].detach()
        centred = values - mean[:, None, None]
        # From the centred values: a difference of two large sums would lose digits.
        variance = _Sum.apply(centred.square().sum(inner)) / images
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * images / (images - 1), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def over_all_processes(network: nn.Module, device: torch.device) -> nn.Module:
    """The same network, parameters and buffers shared, with batch norms over the images of all processes."""
    values = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(value): value for value in values})
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(twin).train()
    for module in twin.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm2d
    return twin.train()


class _Together(nn.Module):
    """One batch's loss in all processes alike."""

    def __init__(self, method: Method, device: torch.device, precision: str) -> None:
        super().__init__()
        self.method, self.network = method, over_all_processes(method.network, device)
        self.device, self.precision = device, precision

    def forward(self, images: Tensor, labels: Tensor, total: int) -> tuple[ExpertOutputs, Tensor, Tensor]:
        with precision_context(self.precision, self.device):
            own = self.network(self.method.normalise(images))
        outputs = ExpertOutputs(whole(own.logits, total, 1), whole(own.features, total, 1), whole(own.shared, total))
        labels = whole(labels, total)
        return outputs, labels, self.method.loss(outputs, labels)


def together(
    method: Method, device: torch.device, precision: str
) -> Callable[..., tuple[ExpertOutputs, Tensor, Tensor]]:
    """What computes outputs, labels and loss of a whole batch from the share of it that each process has.

    Called with a share's images and labels, and the number of images of all shares. A backward pass of the loss leaves
    the whole batch's gradients in every process.
    """
    return DistributedDataParallel(_Together(method, device, precision))
