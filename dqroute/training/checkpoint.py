"""The checkpoint: all that a training needs to go on, bit for bit, from where it was written.

It may be written after any step. Beside the model and the momenta it holds what the epoch under way has come to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dqroute.core.checks import one_line
from dqroute.data.disk import read_tensors, write_tensors
from dqroute.methods.base import Method
from dqroute.training.optimizer import Updates

FORMAT = "4"


@dataclass
class Part:
    """What an epoch has come to so far.

    Attributes:
        loss_sum, right: sums over its images of the loss, and of how many were classified rightly; kept on the device.
        step: its steps done.
        seconds: spent on it, interruptions left out.
    """

    loss_sum: Tensor
    right: Tensor
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def empty(cls, device: torch.device) -> Part:
        """Of an epoch that has not begun."""
        return cls(torch.zeros((), device=device), torch.zeros((), device=device))


def write_checkpoint(path: Path, digest: str, model: Method, updates: Updates, epochs: int, part: Part) -> None:
    """Write the state of a training with so many epochs done, of a run of that ``digest``; OSError leaves the last."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"momentum.{name}": held for name, held in updates.momenta().items()}
    tensors |= {"part.loss_sum": part.loss_sum, "part.right": part.right}
    numbers = {"epochs": epochs, "step": part.step, "seconds": part.seconds}
    write_tensors(path, tensors, {"format": FORMAT, "digest": digest} | {n: repr(v) for n, v in numbers.items()})


def read_checkpoint(path: Path, digest: str, model: Method, updates: Updates) -> tuple[int, Part]:
    """Put model and momenta into the state of a checkpoint; returns how many epochs are done, and of the next what is.

    ValueError, naming file and remedy, if the checkpoint is damaged, of another version, or of another run.
    """
    tensors, metadata = read_tensors(path)
    remedy = f"remove {path.parent} to train it again"
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} was written by another version, or is no checkpoint; {remedy}")
    if metadata.get("digest") != digest:
        raise ValueError(f"{path} belongs to another run; {remedy}")

    def below(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        model.load_state_dict(below("model."))
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to another network ({one_line(error)}); {remedy}") from error
    updates.resume(below("momentum."))
    sums = {name: value.to(model.mean.device) for name, value in below("part.").items()}
    return int(metadata["epochs"]), Part(**sums, step=int(metadata["step"]), seconds=float(metadata["seconds"]))
