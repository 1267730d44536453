"""Several processes that train one network, each with a share of every batch.

``accelerate launch`` and ``notebook_launcher`` start them; :func:`dqroute.fit` notices. Each process runs the network
on its share; then all outputs are gathered, and every process computes the loss, the training accuracy and a method's
own counts from the whole batch. So no loss and no method has to know of it, and no process trains on another difficulty
than the others. On GPUs batch norms take mean and variance over all shares (``SyncBatchNorm``). On CPUs each process
takes those of its own share: then the numbers are not quite those of one process, and a share should not be tiny.
"""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dqroute.runs.locking import only_process


class OtherProcessFailed(RuntimeError):
    """Another of the processes that train together failed, or was told to end."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: number ``rank`` of ``count``. The first one, ``main``, writes."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
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

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """What ends one of them amid this ends the others too: it hangs up, and they get an OtherProcessFailed.

        Over NCCL that may first show when its time limit is over.
        """
        try:
            yield
        except BaseException as error:
            if self.count > 1 and dist.is_initialized():
                dist.destroy_process_group()
                # The connections close with the last reference to the group, and it stands in circles.
                gc.collect()
            hung_up = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
            if self.count > 1 and hung_up:
                what = f"another of the {self.count} processes failed or was told to end"
                raise OtherProcessFailed(f"{what}; its own output says why") from error
            raise


def joined(on_cpu: bool) -> Processes:
    """Join the processes that were launched together, if there are any; where there are GPUs, ``on_cpu`` leaves them.

    Raises OtherProcessFailed if they parted in an earlier training.
    """
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE") or "1") == 1:
        return Processes()
    # Here, because most trainings have one process and can do without. torch's own module comes first: loaded later, by
    # an optimizer, it would hold the group for ever as a default argument, and nobody could hang up.
    import torch.distributed.nn.functional  # noqa: F401, I001
    from accelerate import PartialState

    state = PartialState(cpu=on_cpu or not torch.cuda.is_available())
    if state.num_processes > 1 and not dist.is_initialized():
        raise OtherProcessFailed("an earlier training of these processes failed; launch them anew")
    return Processes(state.process_index, state.num_processes)


class _Whole(torch.autograd.Function):
    """The shares of all processes along dimension 0, in order; the gradient is the own share's, times their number.

    Every process computes the same loss from the whole. Averaged over processes the gradients of the network's
    parameters then add up to the whole batch's, and those of parameters behind the gathering stay what they are.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = share.new_zeros(max(sizes), *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].split(ctx.sizes)[dist.get_rank()] * len(ctx.sizes), None


def whole(share: Tensor, total: int, dim: int = 0) -> Tensor:
    """The whole batch, of ``total`` images along ``dim``, from each process's share of it."""
    sizes = [len(part) for part in torch.arange(total).tensor_split(dist.get_world_size())]
    return _Whole.apply(share.movedim(dim, 0).contiguous(), sizes).movedim(0, dim)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients, by one exchange for all parameters.

    ``DistributedDataParallel`` holds connections that outlive its process's failure: the others would wait.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    mean = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(mean)
    mean /= dist.get_world_size()
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def over_all_processes(network: nn.Module, device: torch.device) -> nn.Module:
    """The same network, parameters and buffers shared; on a GPU with batch norms over the images of all processes."""
    if device.type != "cuda":
        return network
    values = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(value): value for value in values})
    return nn.SyncBatchNorm.convert_sync_batchnorm(twin).train()
