"""The field's protocol on one GPU: CIFAR-100-LT at imbalance 100, ResNet-32, 200 epochs, three branches; as many seeds
as fit into the minutes given, several trainings sharing the card.

    python benchmarks/gpu.py cifar100 --root PATH        # torchvision's copy; or folder:PATH

Before the trainings DQRoute takes twenty steps in which any wait of the processor for the GPU is an error. Then method
after method, seed by seed, each process takes the next run that will be done in time. Finished runs are published to
``--output``, their table printed, with images/s of all together and the share of the GPU's ceiling; what is unfinished
goes on when the script is called again with the same ``--runs-dir``. Without a GPU it runs too, and says on what.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ceiling import ceiling, wait_for

import dqroute as dq
from dqroute.data import ImageSet
from dqroute.data.disk import write_json
from dqroute.models.cost import operations
from dqroute.models.device import resolve_device
from dqroute.runs import tables
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.provenance import provenance
from dqroute.runs.published import publish
from dqroute.runs.run import Run
from dqroute.sweep.notebook import parse_parameter
from dqroute.training.loop import Training
from dqroute.training.settings import PRESETS, Settings

RESULTS = Path(__file__).parent / "results"
# RIDE and SADE as their authors have them by this schedule: cosine classifiers, and a reward of 0.2 for disagreeing.
METHODS: dict[str, dict[str, Any]] = {
    "logit-adjustment": {},
    "dqroute": {},
    "sade": {"classifier": "cosine"},
    "ride": {"classifier": "cosine", "diversity": 0.2},
}


@dataclass(frozen=True)
class Plan:
    """What every process is told.

    Attributes:
        load: arguments of :func:`dqroute.load`; fit: of :func:`dqroute.fit`, beside method, options and seed.
        until: when the last training has to be done, by ``time.time()``; seeds: how many at most.
    """

    load: dict[str, Any]
    fit: dict[str, Any]
    until: float
    seeds: int

    def runs(self) -> Iterator[tuple[str, int]]:
        """All methods with one seed, then all with the next."""
        return ((method, seed) for seed in range(self.seeds) for method in METHODS)


def steps_without_waiting(training: Training, steps: int = 20) -> float:
    """Steps/s of a training whose steps never wait for the GPU.

    Raises:
        RuntimeError: from torch, if a step does.
    """
    training.model.train()
    training.model.start_epoch(0.9)
    batches = list(training.batches.epoch(0))
    batches = [batch for batch in batches if len(batch[1]) == len(batches[0][1])]
    # Compilation and the recording of graphs may wait; what comes after may not.
    for images, labels in (batches * 3)[:3]:
        training.step(images, labels, 1e-3)
    wait_for(training.device)
    if training.device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    started = time.perf_counter()
    try:
        for step in range(steps):
            images, labels = batches[step % len(batches)]
            training.step(images, labels, 1e-3)
    finally:
        if training.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    wait_for(training.device)
    return steps / (time.perf_counter() - started)


def watched(data: ImageSet, given: dict[str, Any], runs_dir: Path) -> float:
    """Steps/s of DQRoute alone on the card, watched for waits."""
    rehearsal = dq.fit("dqroute", data, **given | {"epochs": 1, "runs_dir": runs_dir / "rehearsal", "compile": False})
    # As long as the training that follows, which decides whether it is compiled.
    settings = Settings(**rehearsal.settings["training"] | {"epochs": given.get("epochs", PRESETS["paper"].epochs)})
    where = resolve_device(given.get("device", "auto"))
    training = Training(rehearsal, rehearsal.new_model(), data, settings, where, compile=given.get("compile"))
    return steps_without_waiting(training)


def work(plan: Plan, taken: Any, lock: Any) -> None:
    """One process: the next run that nobody has taken, as long as one is likely to be done in time."""
    data, longest = dq.load(**plan.load), 0.0
    for index, (method, seed) in enumerate(plan.runs()):
        with lock:
            if index < taken.value:
                continue
            if time.time() + longest > plan.until:
                return
            taken.value = index + 1
        started = time.time()
        run = dq.fit(method, data, seed=seed, progress=False, **METHODS[method], **plan.fit)
        longest = max(longest, time.time() - started)
        dq.evaluate(run, device=plan.fit.get("device", "auto"))
        trade_off_of(run, data)
        print(f"{method} seed {seed}: {run.report()}".splitlines()[0], flush=True)


def trained(plan: Plan, at_once: int, grace: float = 20) -> None:
    """Let so many processes train until the time is over; then each saves its training and ends."""
    spawn = multiprocessing.get_context("spawn")
    taken, lock = spawn.Value("i", 0), spawn.Lock()
    processes = [spawn.Process(target=work, args=(plan, taken, lock)) for _ in range(at_once)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(max(0.0, plan.until - time.time()))
    for process in processes:
        process.terminate()  # which saves what is done
    for process in processes:
        process.join(grace)
        process.kill()


def speed_of(runs: list[Run], data: ImageSet, seconds: float, device: torch.device) -> dict[str, Any]:
    """Images/s of all epochs that were trained in these seconds together, and their share of the ceiling."""
    images, total = 0, 0.0
    for run in runs:
        seen = len(data.train) * len(run.epochs)
        images += seen
        total += 3 * seen * operations(run.new_model().to(device).network, data.shape) / 1e9
    limit = ceiling(device)
    return {
        "images_per_second": images / seconds,
        "ceiling_gflop_per_second": limit,
        "share_of_ceiling": total / seconds / limit,
    }


def begun_below(folder: Path) -> list[Run]:
    """The runs of the protocol, finished or not."""
    found = []
    for settings in sorted(folder.glob("*/*/settings.json")):
        with suppress(ValueError):
            found.append(Run(settings.parent))
    return found


def table(runs: list[Run]) -> str:
    """Accuracies, and what each gives up overall at equal few-shot accuracy."""
    rows = {name: [run for run in runs if run.method == name] for name in METHODS}
    curves = tables.curves_by_method(rows)
    parts: list[pd.DataFrame] = [tables.summary(rows), tables.trade_offs(curves, (0.2, 0.25, 0.3, 0.35))]
    return "\n\n".join(part.to_string() for part in parts)


def main() -> None:
    """Train, publish, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar100, or folder:PATH")
    parser.add_argument("--root", help="where torchvision's copy lies")
    parser.add_argument("--imbalance", type=float, default=100)
    parser.add_argument("--minutes", type=float, default=12, help="for all of it")
    parser.add_argument("--seeds", type=int, default=100, help="at most")
    parser.add_argument("--at-once", type=int, default=4, help="trainings that share the card")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other training settings")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/protocol"))
    parser.add_argument("--output", type=Path, default=Path("protocol.jsonl.xz"))
    parser.add_argument("--speed", type=Path, default=RESULTS / "gpu.json")
    chosen = parser.parse_args()
    until = time.time() + 60 * chosen.minutes - 30  # to save, to publish
    load: dict[str, Any] = {"name": chosen.data, "imbalance": chosen.imbalance, "root": chosen.root, "seed": 0}
    load = {name: value for name, value in load.items() if value is not None}
    changes = dict(parse_parameter(text) for text in chosen.set)
    given = {
        "preset": "paper",
        "epochs": chosen.epochs,
        "device": chosen.device,
        "runs_dir": chosen.runs_dir,
        **changes,
    }
    data, where = dq.load(**load), resolve_device(chosen.device)
    made = {"steps_per_second_unwatched": watched(data, given, chosen.runs_dir)}
    before = sum(len(run.epochs) for run in begun_below(chosen.runs_dir))
    started = time.time()
    trained(Plan(load, given, until, chosen.seeds), chosen.at_once)
    seconds = time.time() - started
    everything = begun_below(chosen.runs_dir)
    finished = [run for run in everything if run.finished and run.report() is not None]
    if not before:
        made |= speed_of(everything, data, seconds, where)
        print(f"{made['images_per_second']:,.0f} images/s, {100 * made['share_of_ceiling']:.1f} % of the ceiling")
    write_json(chosen.speed, made | {"seconds": seconds, "at_once": chosen.at_once} | provenance(where))
    print(f"{len(finished)} runs finished of {len(everything)}")
    if finished:
        publish(finished, chosen.output)
        print(table(finished))


if __name__ == "__main__":
    main()
