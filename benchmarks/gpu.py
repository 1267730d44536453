"""The field's benchmark from start to end on one GPU: three experts, CIFAR-100-LT at imbalance 100, 200 epochs.

    python benchmarks/gpu.py cifar100 --root PATH        # torchvision's copy; or folder:PATH

Prints seconds, images/s and the share of the GPU's ceiling, and writes them beside the other results. Before the
run it takes twenty steps in which any wait of the processor for the GPU is an error. Without a GPU it runs too, and
says on what.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ceiling import ceiling, wait_for

import dqroute as dq
from dqroute.data import ImageSet
from dqroute.data.disk import write_json
from dqroute.models.cost import operations
from dqroute.models.device import resolve_device
from dqroute.runs.provenance import provenance
from dqroute.training.loop import Training
from dqroute.training.settings import PRESETS, Settings

RESULTS = Path(__file__).parent / "results"


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


def measure(data: ImageSet, device: str, runs_dir: Path, **changes: Any) -> dict[str, Any]:
    """Train DQRoute by the field's recipe, evaluate it on the test images, and say how fast it went.

    Args:
        changes: of the ``paper`` preset.
    """
    where = resolve_device(device)
    given: dict[str, Any] = {"preset": "paper", "device": device, "runs_dir": runs_dir} | changes
    rehearsal = dq.fit("dqroute", data, **given | {"epochs": 1, "runs_dir": runs_dir / "rehearsal", "compile": False})
    # As long as the training that follows, which decides whether it is compiled.
    settings = Settings(**rehearsal.settings["training"] | {"epochs": given.get("epochs", PRESETS["paper"].epochs)})
    training = Training(rehearsal, rehearsal.new_model(), data, settings, where, compile=given.get("compile"))
    rate = steps_without_waiting(training)
    started = time.perf_counter()
    run = dq.fit("dqroute", data, **given)
    seconds = time.perf_counter() - started
    speed = len(data.train) * len(run.epochs) / sum(record["seconds"] for record in run.epochs)
    work = 3 * operations(run.model.to(where).network, data.shape) / 1e9
    limit = ceiling(where)
    report = dq.evaluate(run, device=device)
    return {
        "epochs": len(run.epochs),
        "seconds": seconds,
        "images_per_second": speed,
        "steps_per_second_unwatched": rate,
        "ceiling_gflop_per_second": limit,
        "share_of_ceiling": speed * work / limit,
        "compiled": run.provenance["compiled"],
        "accuracy": {name: getattr(report, name) for name in ("overall", "many", "medium", "few")},
    } | provenance(where)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar100, or folder:PATH")
    parser.add_argument("--root", help="where torchvision's copy lies")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, imbalance=100, root=chosen.root)
    with tempfile.TemporaryDirectory() as runs_dir:
        made = measure(data, chosen.device, Path(runs_dir), epochs=chosen.epochs)
    write_json(chosen.output, made)
    print(f"{made['epochs']} epochs in {made['seconds']:.0f} s, {made['images_per_second']:,.0f} images/s,")
    print(f"{100 * made['share_of_ceiling']:.1f} % of the ceiling; test accuracy {made['accuracy']}")


if __name__ == "__main__":
    main()
