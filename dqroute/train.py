"""The training loop: any method, any image set, resumable after every epoch."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dqroute.checks import checked_seed
from dqroute.cost import operations
from dqroute.data.image_set import ImageSet
from dqroute.data.streaming import batches_of
from dqroute.engine import (
    compiled,
    keep_freed_memory,
    precision_context,
    resolve_device,
    uses_bf16,
    worth_compiling,
)
from dqroute.evaluate import score
from dqroute.files import read_tensors, write_atomically, write_json, write_tensors
from dqroute.method import METHODS, Method, Problem, method_options
from dqroute.optimizer import Updates
from dqroute.pretrained import Pretrained, read_pretrained, start_from
from dqroute.provenance import now, provenance
from dqroute.runs import Run, default_runs_dir
from dqroute.settings import Settings, setting_names, training_settings


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


def fit(
    method: str,
    data: ImageSet,
    *,
    seed: int = 0,
    epochs: int | None = None,
    preset: str = "laptop",
    runs_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compile: bool | None = None,
    progress: bool = True,
    **changes: Any,
) -> Run:
    """Train a method, or find the run if it was trained before, or go on where it was interrupted.

    Args:
        method: a name from :data:`dqroute.method.METHODS`.
        data: from :func:`dqroute.load`.
        seed: of the initial weights, the order of images and their augmentation.
        epochs: passes over the training images; by default the preset's.
        preset: ``"laptop"``, ``"paper"``, ``"imagenet-lt"`` or ``"places-lt"``; see :data:`dqroute.settings.PRESETS`.
        runs_dir: where run folders go; by default ``$DQROUTE_RUNS``, or ``runs``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compile: whether to compile the network; None compiles where the training is long enough to repay it, see
            :func:`dqroute.engine.worth_compiling`. Results differ by rounding. A run goes on as it was begun.
        progress: whether to show a progress bar.
        changes: any field of :class:`~dqroute.settings.Settings` and any option of the method.

    Returns:
        The finished run.

    Raises:
        ValueError: for unknown names and values out of range.
        NonFiniteLoss: if the loss becomes NaN or infinite; what was done before that epoch is kept.
        OSError: if the run folder cannot be written.
    """
    where, seed = resolve_device(device), checked_seed(seed)
    settings, options = divide_changes(method, preset, {"epochs": epochs} | changes)
    weights = read_pretrained(settings.pretrained, settings.backbone, data.shape[0]) if settings.pretrained else None
    request = {
        "method": method,
        "revision": METHODS[method].revision,
        "options": method_options(method) | options,
        # What the weights are, not where they lie.
        "training": settings.decisive() | ({"pretrained": weights.identity} if weights else {}),
        "seed": seed,
        "data": data.identity,
        "augmentation": vars(data.augmentation).copy(),
    }
    mean, std = data.train.statistics
    network = {name: getattr(settings, name) for name in ("backbone", "shared_depth", "branch_width")}
    problem = Problem(data.counts, data.groups, data.shape[0], mean, std, **network, size=data.shape[1:])
    run = Run.of_request(Path(runs_dir) if runs_dir is not None else default_runs_dir(), request, problem, data)
    if not run.finished:
        Training(run, data, settings, where, compile, weights).to_the_end(progress)
    return run


def divide_changes(method: str, preset: str, changes: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell training settings from the method's own options.

    Raises:
        ValueError: for a name that is neither, listing both.
    """
    own = method_options(method)
    training = {name: value for name, value in changes.items() if name in setting_names()}
    options = {name: value for name, value in changes.items() if name in own}
    unknown = changes.keys() - training.keys() - options.keys()
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(sorted(unknown))}; training takes {', '.join(setting_names())}; "
            f"{method} takes {', '.join(own) or 'no options'}"
        )
    return training_settings(preset, training), options


class Training:
    """One run in training: model, optimizer, batches, and the epoch reached."""

    def __init__(
        self,
        run: Run,
        data: ImageSet,
        settings: Settings,
        device: torch.device,
        compile: bool | None = None,
        weights: Pretrained | None = None,
    ) -> None:
        self.run, self.data, self.settings, self.device = run, data, settings, device
        keep_freed_memory()
        model = run.new_model()
        if weights is not None:
            start_from(model.network, weights)
        self.model: Method = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updates = Updates(self.model, settings)
        self.batches = batches_of(data, settings.batch_size, device)
        self.records: list[dict[str, Any]] = []
        # A process killed while writing leaves its half-written file.
        for partial in run.folder.glob(".*.partial"):
            partial.unlink()
        bf16 = uses_bf16(settings.precision, device)
        if compile is None:
            steps = settings.epochs * len(self.batches)
            # A backward pass counts as two forward passes.
            total = 3 * operations(self.model.network, data.shape) * settings.epochs * len(data.train)
            compile = worth_compiling(total, steps, device, bf16)
        described = provenance(device) | {
            "compiled": compile,
            "precision": "bf16" if bf16 else "fp32",
            "data_fingerprint": data.fingerprint(),
        }
        if run.checkpoint_file.is_file():
            before = run.provenance
            if before.get("data_fingerprint") != described["data_fingerprint"]:
                raise ValueError(
                    f"the images of {data.name} are not those that {run.folder} was begun with; "
                    "restore them, or remove the folder to train it again"
                )
            self.resume()
            # The first start keeps its place; each further one may have had other code and another machine.
            described = before | {"resumed": [*before.get("resumed", []), described]}
            compile = before.get("compiled", False)
        write_json(run.folder / "provenance.json", described)
        # Compiled for whole batches only; the last, smaller one of an epoch takes the network as it is.
        self.whole_batch = compiled(self.model.network, device) if compile else self.model.network

    def to_the_end(self, progress: bool) -> None:
        """Train the epochs that are left, then leave the weights."""
        settings, name = self.settings, f"{self.run.method} seed {self.run.seed}"
        with tqdm(
            total=settings.epochs, initial=len(self.records), desc=name, unit="epoch", disable=not progress
        ) as bar:
            for epoch in range(len(self.records), settings.epochs):
                with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                    record = self.epoch(epoch)
                self.records.append(record)
                self.checkpoint()
                bar.set_postfix_str(f"loss {record['loss']:.3f}, {record['images_per_second']:,.0f} images/s", False)
                bar.update()
        write_tensors(self.run.weights_file, self.model.state_dict(), {"digest": self.run.settings["digest"]})
        finished = {"finished": now(), "training_seconds": round(self.run.seconds, 1)}
        write_json(self.run.folder / "provenance.json", self.run.provenance | finished)
        self.run.checkpoint_file.unlink(missing_ok=True)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train one epoch and return its record."""
        started = time.perf_counter()
        settings, model = self.settings, self.model
        model.train()
        model.start_epoch(epoch / settings.epochs)
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        # One seed for an epoch, far from those of the same run's other epochs and of other runs.
        seed = (self.run.seed * 1_000_003 + epoch) % 2**63
        # For methods that draw from the global generators: an interrupted run then draws the same numbers again.
        torch.manual_seed(seed)
        batches = self.batches.epoch(seed)
        for step, (images, labels) in enumerate(batches):
            loss, hits = self.step(images, labels, settings.share(epoch + (step + 1) / len(self.batches)))
            # Summed on the device: reading a number off it every step would make it wait.
            loss_sum += loss * len(labels)
            right += hits
        # The weights too: a step may spoil them after the last finite loss.
        weights = torch.stack([parameter.detach().sum() for parameter in model.parameters()]).sum()
        if not torch.isfinite(loss_sum + weights):
            what = f"loss of {self.run.method} became {loss_sum.item()}"
            if torch.isfinite(loss_sum):
                what = f"weights of {self.run.method} became {weights.item()}"
            raise NonFiniteLoss(
                f"the {what} in epoch {epoch + 1} of {settings.epochs} "
                f"(lr {settings.lr:g}); lower lr or lengthen warmup. The {epoch} epochs before are kept in "
                f"{self.run.folder}"
            )
        model.end_epoch()
        images_seen = len(self.data.train)
        seconds = time.perf_counter() - started
        record = {
            "epoch": epoch + 1,
            "loss": loss_sum.item() / images_seen,
            "accuracy": right.item() / images_seen,
            "rate": settings.rate(epoch + 1),
            "seconds": round(seconds, 3),
            "images_per_second": round(images_seen / seconds, 1),
        }
        return record | self.validation() | model.diagnostics()

    def step(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; nothing in it waits for a GPU.

        Args:
            images: uint8 ``[B, channels, H, W]``; labels: ``[B]``; share: of the peak learning rates.

        Returns:
            The loss, and how many images the mean of the experts had right, both left on the device.
        """
        model, settings = self.model, self.settings
        with precision_context(settings.precision, self.device):
            network = self.whole_batch if len(labels) == settings.batch_size else model.network
            outputs = network(model.normalise(images))
        loss = model.loss(outputs, labels)
        self.updates.step(loss, share)
        with torch.no_grad():
            model.observe(outputs, labels)
            return loss.detach(), (outputs.logits.mean(dim=0).argmax(dim=1) == labels).sum()

    def validation(self) -> dict[str, Any]:
        """Accuracies on the validation split, if there is one. They are drawn, and choose nothing here."""
        if self.data.val is None:
            return {}
        prediction = self.model.predict(self.data.val)
        report = score(prediction, self.data.val, self.data.groups, self.model.class_sets().cpu(), "val")
        return {"val": {name: getattr(report, name) for name in ("overall", "many", "medium", "few")}}

    def checkpoint(self) -> None:
        """Write model and optimizer, then the records; either is whole at any moment."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"momentum.{name}": held for name, held in self.updates.momenta().items()}
        metadata = {"epochs": str(len(self.records)), "digest": self.run.settings["digest"]}
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        # Records first: a checkpoint ahead of its records could not be resumed, records ahead are cut.
        write_atomically(self.run.folder / "epochs.jsonl", lines.encode())
        write_tensors(self.run.checkpoint_file, tensors, metadata)

    def resume(self) -> None:
        """Take up the state of the last checkpoint.

        Raises:
            ValueError: if the checkpoint is damaged or belongs to another run.
        """
        tensors, metadata = read_tensors(self.run.checkpoint_file)
        if metadata.get("digest") != self.run.settings["digest"]:
            raise ValueError(
                f"{self.run.checkpoint_file} belongs to another run; remove {self.run.folder} to train it again"
            )
        prefixes = ("model.", "momentum.")
        state, momenta = ({k.removeprefix(p): v for k, v in tensors.items() if k.startswith(p)} for p in prefixes)
        self.model.load_state_dict(state)
        self.updates.resume(momenta)
        done = int(metadata["epochs"])
        if done > len(self.run.epochs):
            raise ValueError(
                f"{self.run.folder} has {len(self.run.epochs)} records of the {done} epochs in its checkpoint; "
                "remove the folder to train it again"
            )
        self.records = self.run.epochs[:done]
