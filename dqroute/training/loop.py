"""The training loop: any method, any image set, resumable after any step. :mod:`dqroute.training.fit` starts it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dqroute.data.disk import write_atomically, write_json, write_tensors
from dqroute.data.image_set import ImageSet
from dqroute.data.streaming import batches_of
from dqroute.methods.base import Method
from dqroute.models.cost import operations
from dqroute.models.device import (
    compiled,
    keep_freed_memory,
    precision_context,
    uses_bf16,
    worth_compiling,
)
from dqroute.models.pretrained import Pretrained, start_from
from dqroute.runs.evaluate import score
from dqroute.runs.provenance import now, provenance
from dqroute.runs.run import Run
from dqroute.training.checkpoint import Part, go_on, read_checkpoint, write_checkpoint
from dqroute.training.distribution import Processes, together
from dqroute.training.energy import EnergyMeter
from dqroute.training.interruption import EXIT_CODE, told_to_end
from dqroute.training.optimizer import Updates
from dqroute.training.settings import Settings


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


class Training:
    """One run in training: model, optimizer, batches, and the epoch reached."""

    def __init__(
        self,
        run: Run,
        data: ImageSet,
        settings: Settings,
        device: torch.device,
        compile: bool | None = None,
        processes: Processes = Processes(),  # noqa: B008
        weights: Pretrained | None = None,
    ) -> None:
        self.run, self.data, self.settings, self.device, self.processes = run, data, settings, device, processes
        keep_freed_memory()
        model = run.new_model()
        if weights is not None:
            start_from(model.network, weights)
        self.model: Method = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updates = Updates(self.model, settings)
        self.batches = batches_of(data, settings.batch_size, device, (processes.rank, processes.count))
        self.records: list[dict[str, Any]] = []
        self.part = Part.empty(device)
        self.generators: dict[str, Tensor] = {}
        self.told_to_end: Callable[[], bool] = lambda: False
        self.pause, self.saved = math.inf, time.monotonic()
        if processes.main:
            # A process killed while writing leaves its half-written file.
            for partial in run.folder.glob(".*.partial"):
                partial.unlink()
        bf16 = uses_bf16(settings.precision, device)
        self.precision = "bf16" if bf16 else "fp32"
        if compile is None:
            steps = settings.epochs * len(self.batches)
            # A backward pass counts as two forward passes.
            total = 3 * operations(self.model.network, data.shape) * settings.epochs * len(data.train)
            compile = processes.count == 1 and worth_compiling(total, steps, device, bf16)
        described = provenance(device) | {
            "compiled": compile,
            "precision": self.precision,
            "processes": processes.count,
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
            compile, self.precision = before.get("compiled", False), before.get("precision", self.precision)
        if compile and processes.count > 1:
            raise ValueError("a compiled network is trained by one process; leave compile out, or launch one process")
        if processes.main:
            write_json(run.folder / "provenance.json", described)
        self.together = together(self.model, device, self.precision) if processes.count > 1 else None
        # Compiled for whole batches only; the last, smaller one of an epoch takes the network as it is.
        self.whole_batch = compiled(self.model.network, device) if compile else self.model.network

    def to_the_end(self, progress: bool, checkpoint_minutes: float = 10) -> None:
        """Train what is left, then leave the weights.

        Raises:
            SystemExit: after SIGTERM, when the checkpoint is written, or the run finished.
        """
        settings, name = self.settings, f"{self.run.method} seed {self.run.seed}"
        self.pause, self.saved = 60 * checkpoint_minutes, time.monotonic()
        with (
            told_to_end() as self.told_to_end,
            tqdm(
                total=settings.epochs,
                initial=len(self.records),
                desc=name,
                unit="epoch",
                disable=not (progress and self.processes.main),
            ) as bar,
        ):
            for epoch in range(len(self.records), settings.epochs):
                try:
                    with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                        record = self.epoch(epoch)
                except RuntimeError:
                    if self.told_to_end() and not self.processes.main:
                        # The main process has saved the training and left, and could not be spoken to any more.
                        raise SystemExit(EXIT_CODE) from None
                    raise
                self.records.append(record)
                self.part = Part.empty(self.device)
                if self.processes.main:
                    self.checkpoint()
                bar.set_postfix_str(f"loss {record['loss']:.3f}, {record['images_per_second']:,.0f} images/s", False)
                bar.update()
            if self.processes.main:
                self.finish()
            self.processes.wait()
            if self.told_to_end():
                raise SystemExit(EXIT_CODE)

    def finish(self) -> None:
        """Leave the weights, and what belongs to a finished run."""
        write_tensors(self.run.weights_file, self.model.state_dict(), {"digest": self.run.settings["digest"]})
        finished: dict[str, Any] = {"finished": now(), "training_seconds": round(self.run.seconds, 1)}
        if all("cpu_joules" in record for record in self.records):
            finished["cpu_joules"] = round(sum(record["cpu_joules"] for record in self.records), 1)
        write_json(self.run.folder / "provenance.json", self.run.provenance | finished)
        self.run.checkpoint_file.unlink(missing_ok=True)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train one epoch, or what is left of it, and return its record."""
        settings, model, part = self.settings, self.model, self.part
        started, meter = time.perf_counter() - part.seconds, EnergyMeter()
        model.train()
        model.start_epoch(epoch / settings.epochs)
        # One seed for an epoch, far from those of the same run's other epochs and of other runs.
        seed = (self.run.seed * 1_000_003 + epoch) % 2**63
        # For methods that draw from the global generators: an interrupted run then draws the same numbers again.
        torch.manual_seed(seed)
        if part.step:
            go_on(self.generators, self.device)
        for images, labels in self.batches.epoch(seed, part.step):
            share = settings.share(epoch + (part.step + 1) / len(self.batches))
            loss, hits = self.step(images, labels, share)
            # Summed on the device: reading a number off it every step would make it wait.
            part.loss_sum += loss * self.batches.sizes[part.step]
            part.right += hits
            part.step += 1
            # All processes have the same state; the main one saves it, and its end is the others'. After the last step
            # the epoch's own checkpoint follows at once, or the end of the run.
            if (
                self.processes.main
                and part.step < len(self.batches)
                and (self.told_to_end() or time.monotonic() - self.saved >= self.pause)
            ):
                part.seconds = time.perf_counter() - started
                part.add_energy(meter.since_last())
                self.check_numbers(epoch)
                self.checkpoint()
        self.check_numbers(epoch)
        model.end_epoch()
        images_seen = len(self.data.train)
        seconds = time.perf_counter() - started
        record = {
            "epoch": epoch + 1,
            "loss": part.loss_sum.item() / images_seen,
            "accuracy": part.right.item() / images_seen,
            "rate": settings.rate(epoch + 1),
            "seconds": round(seconds, 3),
            "images_per_second": round(images_seen / seconds, 1),
        }
        part.add_energy(meter.since_last())
        if part.joules is not None:
            record["cpu_joules"] = round(part.joules, 1)
        return record | self.validation() | model.diagnostics()

    def check_numbers(self, epoch: int) -> None:
        """Raise NonFiniteLoss if the loss of the epoch so far, or a weight, is no number any more."""
        loss_sum = self.part.loss_sum
        # The weights too: a step may spoil them after the last finite loss.
        weights = torch.stack([parameter.detach().sum() for parameter in self.model.parameters()]).sum()
        if not torch.isfinite(loss_sum + weights):
            settings = self.settings
            rates = f"lr {settings.lr:g}"
            if settings.optimizer == "muon":
                rates += f", kernel_lr {settings.kernel_lr:g}"
            what = f"loss of {self.run.method} became {loss_sum.item()}"
            if torch.isfinite(loss_sum):
                what = f"weights of {self.run.method} became {weights.item()}"
            raise NonFiniteLoss(
                f"the {what} in epoch {epoch + 1} of {settings.epochs} ({rates}); lower the rate or "
                f"lengthen warmup. The {epoch} epochs before are kept in {self.run.folder}"
            )

    def step(self, images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; nothing in it waits for a GPU.

        Args:
            images: uint8 ``[B, channels, H, W]``; labels: ``[B]``, this process's share of the batch.
            share: of the peak learning rates.

        Returns:
            The loss, and how many images the mean of the experts had right, both left on the device.
        """
        model, settings = self.model, self.settings
        if self.together is not None:
            outputs, labels, loss = self.together(images, labels, self.batches.sizes[self.part.step])
        else:
            with precision_context(self.precision, self.device):
                network = self.whole_batch if len(labels) == settings.batch_size else model.network
                outputs = network(model.normalise(images))
            loss = model.loss(outputs, labels)
        self.updates.step(loss, share)
        with torch.no_grad():
            model.observe(outputs, labels)
            return loss.detach(), (outputs.logits.mean(dim=0).argmax(dim=1) == labels).sum()

    def validation(self) -> dict[str, Any]:
        """Accuracies on the validation split, if there is one. They are drawn, and choose nothing here."""
        if self.data.val is None or not self.processes.main:
            return {}
        prediction = self.model.predict(self.data.val)
        report = score(prediction, self.data.val, self.data.groups, self.model.class_sets().cpu(), "val")
        return {"val": {name: getattr(report, name) for name in ("overall", "many", "medium", "few")}}

    def checkpoint(self) -> None:
        """Write the records, then the state; either is whole at any moment.

        Raises:
            SystemExit: if the process was told to end meanwhile, and epochs are left.
        """
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        # Records first: a checkpoint ahead of its records could not be resumed, records ahead are cut.
        write_atomically(self.run.folder / "epochs.jsonl", lines.encode())
        digest, done = self.run.settings["digest"], len(self.records)
        write_checkpoint(self.run.checkpoint_file, digest, self.model, self.updates, done, self.part)
        self.saved = time.monotonic()
        if self.told_to_end() and done < self.settings.epochs:
            print(f"told to end: {self.run.folder} is saved and goes on when asked for again", file=sys.stderr)
            raise SystemExit(EXIT_CODE)

    def resume(self) -> None:
        """Take up the state of the last checkpoint.

        Raises:
            ValueError: if the checkpoint is damaged or belongs to another run.
        """
        path, digest = self.run.checkpoint_file, self.run.settings["digest"]
        done, self.part, self.generators = read_checkpoint(path, digest, self.model, self.updates)
        if done > len(self.run.epochs):
            raise ValueError(
                f"{self.run.folder} has {len(self.run.epochs)} records of the {done} epochs in its checkpoint; "
                "remove the folder to train it again"
            )
        self.records = self.run.epochs[:done]
