"""The training loop: any method, any image set, resumable after any step. :mod:`dqroute.training.fit` starts it."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, perf_counter
from typing import Any

import torch
from torch import Tensor

from dqroute.core.judging import fold_of
from dqroute.data.batches import batches_of
from dqroute.data.disk import write_atomically, write_json, write_tensors
from dqroute.data.files.together import told_unjudged
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.data.progress import Progress
from dqroute.methods.base import Method
from dqroute.models.cost import operations
from dqroute.models.device import compiled, keep_freed_memory, worth_compiling
from dqroute.models.heads import Heads
from dqroute.runs.card import write_card
from dqroute.runs.provenance import now, provenance
from dqroute.runs.run import EPOCHS, PROVENANCE, Run
from dqroute.runs.score import score
from dqroute.training.checkpoint import Part, read_checkpoint, write_checkpoint
from dqroute.training.distribution import Processes, average_gradients
from dqroute.training.forward import Forward
from dqroute.training.interruption import told_to_end
from dqroute.training.judgement import judge
from dqroute.training.optimizer import Updates
from dqroute.training.settings import Settings


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


@contextmanager
def fastest_kernels() -> Iterator[None]:
    """Have cuDNN try its kernels for each shape once and take the fastest, unless it is told to be deterministic."""
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, not cudnn.deterministic
    try:
        yield
    finally:
        cudnn.benchmark = before


class Training:
    """One run in training: its model, which has the weights to begin with, optimizer, batches, and the epoch reached.

    In its settings the precision is settled.
    """

    def __init__(
        self,
        run: Run,
        model: Method,
        data: ImageSet,
        settings: Settings,
        device: torch.device,
        compile: bool | None = None,
        processes: Processes = Processes(),  # noqa: B008
    ) -> None:
        self.run, self.data, self.settings, self.device, self.processes = run, data, settings, device, processes
        keep_freed_memory()
        self.model: Method = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.updates = Updates(self.model, settings)
        # The fold of each training image, below 0 where nobody judges it.
        heads, self.fold = self.model.network, torch.full_like(data.train.labels, -1)
        if isinstance(heads, Heads):
            if heads.folds:
                self.fold = fold_of(data.train.labels, heads.folds, data.together, run.seed)
                if processes.main and (said := told_unjudged(data.train.labels, self.fold, data.class_names)):
                    print(f"{data.name}: {said}")
            assert isinstance(data.train, FeatureSplit)
            heads.meet(data.train.features.to(device), data.train.labels.to(device), self.fold.to(device))
        # Whose accuracy is counted along the way: out of fold, only images that somebody may judge.
        judged = int((self.fold >= 0).sum()) if model.judge == "out-of-fold" else 0
        self.counted = judged or len(data.train)
        share = processes.rank, processes.count
        self.batches = batches_of(data, settings.batch_size, device, share, self.fold)
        self.records: list[dict[str, Any]] = []
        self.part = Part.empty(device)
        self.told_to_end: Callable[[], BaseException | None] = lambda: None
        # Epochs and steps of the next that the last checkpoint holds; how often one is due, and when it was written.
        self.held, self.pause, self.saved = (0, 0), math.inf, monotonic()
        # Between two steps, computing one, which changes buffers such as the norms' statistics, or changing the rest.
        self.stage, self.shown = "between", Progress("", 1, show=False)
        kinds: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for buffer in self.model.buffers():
            kinds[buffer.dtype].append(buffer)
        self.buffers = [(those, [buffer.clone() for buffer in those]) for those in kinds.values()]
        if processes.main:
            # A process killed while writing leaves its half-written file.
            for partial in run.folder.glob(".*.partial"):
                partial.unlink()
        if isinstance(heads, Heads) or model.mixup:
            compile = False  # one product of matrices; or a share drawn anew at every step
        if compile is None:
            # A backward pass counts as two forward passes.
            total = 3 * operations(self.model.network, data.shape) * settings.epochs * len(data.train)
            steps, bf16 = settings.epochs * len(self.batches), settings.precision == "bf16"
            compile = processes.count == 1 and worth_compiling(total, steps, device, bf16)
        described = provenance(device) | {
            "compiled": compile,
            "precision": settings.precision,
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
            compile = before.get("compiled", False)
        if compile and processes.count > 1:
            raise ValueError("a compiled network is trained by one process; leave compile out, or launch one process")
        if processes.main:
            write_json(run.folder / PROVENANCE, described)
        self.forward = Forward(self.model, settings.precision, device, processes).of_batch
        # Compiled for whole batches only; the last, smaller one of an epoch is computed step by step.
        self.whole_batch = compiled(self.forward, device) if compile else self.forward

    def to_the_end(self, progress: bool, checkpoint_minutes: float = 10) -> None:
        """Train what is left, then leave the weights; or save what is done, whatever ends the training."""
        settings, main = self.settings, self.processes.main
        self.pause, self.saved = 60 * checkpoint_minutes, monotonic()
        done = len(self.records) * len(self.batches) + self.part.step
        name, steps = f"{self.run.method} seed {self.run.seed}", settings.epochs * len(self.batches)
        self.shown = Progress(name, steps, done=done, show=progress and main)
        with told_to_end() as self.told_to_end, self.shown.bar, fastest_kernels():
            try:
                for epoch in range(len(self.records), settings.epochs if self.model.trained else 0):
                    with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                        record = self.epoch(epoch)
                    self.records.append(record)
                    self.part, self.stage = Part.empty(self.device), "between"
                    if main and epoch + 1 < settings.epochs:
                        self.checkpoint_if_due()
                if main:
                    self.finish()
                self.processes.wait()
            except BaseException as error:
                end = self.told_to_end()
                if end and not main:
                    # The main process has saved the training and left, and cannot be spoken to any more.
                    raise end from None
                if main and not end:
                    self.keep_what_is_done(error)
                raise
            if end := self.told_to_end():
                raise end

    def finish(self) -> None:
        """Leave the weights, and what belongs to a finished run."""
        self.write_records()
        judged = judge(self.run, self.model, self.data, self.fold, self.device)
        write_tensors(self.run.weights_file, self.model.state_dict(), {"digest": self.run.settings["digest"]})
        finished = judged | {"finished": now(), "training_seconds": round(self.run.seconds, 1)}
        write_json(self.run.folder / PROVENANCE, self.run.provenance | finished)
        self.run.checkpoint_file.unlink(missing_ok=True)
        write_card(self.run)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train one epoch, or what is left of it, and return its record."""
        settings, model, part = self.settings, self.model, self.part
        started, images_seen = perf_counter() - part.seconds, len(self.data.train)
        model.train()
        model.start_epoch(epoch / settings.epochs)
        # One seed for an epoch, far from those of the same run's other epochs and of other runs.
        seed = (self.run.seed * 1_000_003 + epoch) % 2**63
        for images, labels, *fold in self.batches.epoch(seed, part.step):
            for buffers, before in self.buffers:
                torch._foreach_copy_(before, buffers)
            self.stage = "computing"
            # For methods that draw from the global generators: an interrupted run then draws the same numbers again.
            torch.manual_seed((seed * 1_000_003 + part.step) % 2**63)
            share = settings.share(epoch + (part.step + 1) / len(self.batches))
            loss, hits = self.step(images, labels, share, *fold)
            # Summed on the device: reading a number off it every step would make it wait.
            part.loss_sum += loss * self.batches.sizes[part.step]
            part.right += hits
            part.step += 1
            self.stage = "between"
            self.shown.step(1, lambda: self.where(epoch))
            # All processes have the same state; the main one saves it, and its end is the others'. After the last step
            # the epoch's own checkpoint follows at once, or the end of the run.
            if self.processes.main and part.step < len(self.batches):
                part.seconds = perf_counter() - started
                self.checkpoint_if_due()
        self.check_numbers()
        self.stage = "changing"
        model.end_epoch()
        seconds = perf_counter() - started
        record = {
            "epoch": epoch + 1,
            "loss": part.loss_sum.item() / images_seen,
            "accuracy": part.right.item() / self.counted,
            "rate": settings.lr * settings.share(epoch + 1),
            "seconds": round(seconds, 3),
        }
        return record | self.validation() | model.diagnostics()

    def where(self, epoch: int) -> str:
        """How far the training is, in words."""
        loss = self.part.loss_sum.item() / sum(self.batches.sizes[: self.part.step])
        return f"epoch {epoch + 1} of {self.settings.epochs}, loss {loss:.3f}"

    def step(self, images: Tensor, labels: Tensor, share: float, fold: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step of the optimizer, at a share of the peak rates; nothing in it waits for a GPU.

        Of this process's share of a batch, as of :meth:`dqroute.data.batches.AnyBatches.epoch`, the loss, and how many
        images the mean of the experts had right, both left on the device.
        """
        model, processes = self.model, self.processes.count
        model.zero_grad()
        if self.device.type == "cuda":
            # A compiled step writes its outputs where those of the one before were: they are used up by then. To say so
            # loads torch's compiler, which takes seconds.
            torch.compiler.cudagraph_mark_step_begin()
        forward = self.whole_batch if len(labels) == self.settings.batch_size else self.forward
        outputs, labels, loss = forward(images, labels, fold, self.batches.sizes[self.part.step] * (processes > 1))
        loss.backward()
        if processes > 1:
            average_gradients(model.parameters())
        self.stage = "changing"
        self.updates.step(share)
        with torch.no_grad():
            model.observe(outputs, labels)
            return loss.detach(), (outputs.logits.mean(dim=0).argmax(dim=1) == labels).sum()

    def validation(self) -> dict[str, Any]:
        """Accuracies on the validation split, if there is one. They are drawn, and choose nothing here."""
        if self.data.val is None or not self.processes.main:
            return {}
        prediction = self.model.predict(self.data.val)
        report = score(prediction, self.data.val.labels, self.data.groups, self.model.class_sets().cpu(), "val")
        return {"val": {name: getattr(report, name) for name in ("overall", "many", "medium", "few")}}

    def check_numbers(self) -> None:
        """Raise NonFiniteLoss if the loss of the epoch so far, or a weight after the last finite loss, is no number."""
        settings = self.settings
        for name, values in (("loss", [self.part.loss_sum]), ("weights", self.model.parameters())):
            total = torch.stack([value.detach().sum() for value in values]).sum()
            if not torch.isfinite(total):
                rates = f"lr {settings.lr:g}" + f", kernel_lr {settings.kernel_lr:g}" * (settings.optimizer == "muon")
                raise NonFiniteLoss(
                    f"the {name} of {self.run.method} became {total.item()} in epoch {len(self.records) + 1} of "
                    f"{settings.epochs} ({rates}); lower the rate or lengthen warmup. {self.kept()}"
                )

    def kept(self) -> str:
        """What the run folder holds, in words."""
        epochs, step = self.held
        so_far = f"{epochs} of {self.settings.epochs} epochs"
        if step:
            so_far += f" and {step} of {len(self.batches)} steps of the next"
        holds = f"holds {so_far}, and goes on" if any(self.held) else "holds nothing of it yet, and begins anew"
        return f"{self.run.folder} {holds} when the run is asked for again"

    def checkpoint_if_due(self) -> None:
        """Save the training if it is time to, or if it is told to end, and then end."""
        end = self.told_to_end()
        if end or monotonic() - self.saved >= self.pause:
            self.check_numbers()
            self.checkpoint()
        if end:
            print(f"told to end: {self.kept()}", file=sys.stderr)
            raise end

    def checkpoint(self) -> None:
        """Write the records, then the state; either is whole at any moment."""
        # Records first: a checkpoint ahead of its records could not be resumed, records ahead are cut.
        self.write_records()
        done, digest = len(self.records), self.run.settings["digest"]
        write_checkpoint(self.run.checkpoint_file, digest, self.model, self.updates, done, self.part)
        self.held, self.saved = (done, self.part.step), monotonic()

    def write_records(self) -> None:
        """Write what there is to tell of the epochs done."""
        write_atomically(self.run.folder / EPOCHS, "".join(json.dumps(r) + "\n" for r in self.records).encode())

    def keep_what_is_done(self, error: BaseException) -> None:
        """Save the steps done before an error, if they are sound, and say what is kept."""
        # Should that fail too, the first error counts.
        with suppress(Exception):
            if self.stage == "computing":
                for buffers, before in self.buffers:
                    torch._foreach_copy_(buffers, before)
            if self.stage != "changing" and self.held != (len(self.records), self.part.step):
                self.check_numbers()
                self.checkpoint()
        if isinstance(error, KeyboardInterrupt):
            print(f"interrupted: {self.kept()}", file=sys.stderr)
        elif not isinstance(error, NonFiniteLoss):
            error.add_note(self.kept())

    def resume(self) -> None:
        """Take up the state of the last checkpoint; ValueError if it is damaged or belongs to another run."""
        epochs, digest = self.run.epochs, self.run.settings["digest"]
        done, self.part = read_checkpoint(self.run.checkpoint_file, digest, self.model, self.updates)
        if done > len(epochs):
            raise ValueError(
                f"{self.run.folder} has {len(epochs)} records of the {done} epochs in its checkpoint; "
                "remove the folder to train it again"
            )
        self.records, self.held = epochs[:done], (done, self.part.step)
