"""Reference and engine in turn: `make bench`. Prints ratios and writes them to benchmarks/results/engine.json.

Each measurement is a process of its own, so that peak memory is its own; reference and engine alternate, so that a
slow minute of the machine hits both; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

import dqroute as dq
from dqroute.data import Augmentation, ImageSet, Split
from dqroute.engine import computes_in_bf16
from dqroute.files import write_json
from dqroute.long_tail import shot_groups
from dqroute.provenance import provenance

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-32, one branch": ("logit-adjustment", {}),
    "ResNet-32, three experts": ("dqroute", {}),
    "ResNet-32, three experts, reduced": ("dqroute", {"branch_width": 0.75}),
}
JOBS = ("training", "inference")
RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")


def noise_images(number: int, num_classes: int = 100) -> ImageSet:
    """32x32 images of noise: for speed their content does not matter."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(number) % num_classes)
    names = tuple(str(c) for c in range(num_classes))
    groups = shot_groups([number] * num_classes, "thirds")
    return ImageSet("noise", split, split, names, groups, Augmentation(), {"name": "noise", "images": number})


def fitted(case: str, data: ImageSet, epochs: int, folder: str) -> dq.Run:
    """A run of the engine, as any user starts it."""
    method, changes = CASES[case]
    return dq.fit(method, data, preset="paper", epochs=epochs, warmup=0.0, runs_dir=folder, progress=False, **changes)


def measure(side: str, case: str, job: str, images: int) -> dict[str, float]:
    """One measurement in this process: images/s, seconds to the end of the first step, peak memory in MiB."""
    few, data = noise_images(128), noise_images(images)
    with tempfile.TemporaryDirectory() as folder:
        if side == "engine":
            started = time.perf_counter()
            run = fitted(case, few, 1, folder)
            if job == "training":
                first = time.perf_counter() - started
                records = fitted(case, data, 3, folder).epochs[1:]
                speed = median(record["images_per_second"] for record in records)
            else:
                speed, first = timed(lambda split: run.model.predict(split.images), few.test, data.test)
        else:
            # Here, so that the engine's process does not carry the reference's imports.
            import reference

            run = fitted(case, few, 1, folder)
            if job == "training":
                model, training = run.new_model(), run.settings["training"]
                started = time.perf_counter()
                next(reference.training_steps(model, few, training))
                first = time.perf_counter() - started
                steps = reference.training_steps(model, data, training)
                epoch = -(-images // training["batch_size"])
                rates = []
                for _ in range(3):
                    started = time.perf_counter()
                    seen = sum(next(steps) for _ in range(epoch))
                    rates.append(seen / (time.perf_counter() - started))
                speed = median(rates[1:])
            else:
                speed, first = timed(lambda split: reference.predicted_labels(run.model, split), few.test, data.test)
    # The reference's loader workers are processes of their own and not in this number.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_second": speed, "first_step": first, "peak_mib": peak}


def timed(predict: Callable[[Split], object], few: Split, split: Split) -> tuple[float, float]:
    """Images/s of the second call, and seconds of the first one, on few images."""
    started = time.perf_counter()
    predict(few)
    first = time.perf_counter() - started
    started = time.perf_counter()
    predict(split)
    return len(split) / (time.perf_counter() - started), first


def ceiling(size: int = 4096) -> float:
    """GFLOP/s of a large matrix product in the engine's precision: the machine's own limit."""
    dtype = torch.bfloat16 if computes_in_bf16(CPU) else torch.float32
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times) / 1e9


def gflop_an_image(case: str) -> float:
    """Operations of one forward pass, counted by torch, a multiply-add being two."""
    from torch.utils.flop_counter import FlopCounterMode

    few = noise_images(100)
    with tempfile.TemporaryDirectory() as folder:
        model = fitted(case, few, 1, folder).new_model().eval()
        with FlopCounterMode(display=False) as counter:
            model(few.test.images[:1])
    return counter.get_total_flops() / 1e9


def compare(case: str, job: str, images: int, rounds: int, limit: float) -> dict[str, Any]:
    """Alternate the two sides and compare their medians."""
    found: dict[str, list[dict[str, float]]] = {"reference": [], "engine": []}
    for _ in range(rounds):
        for side, numbers in found.items():
            command = [sys.executable, __file__, "--images", str(images), "--worker", side, case, job]
            numbers.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    middle = {side: {name: median(n[name] for n in numbers) for name in numbers[0]} for side, numbers in found.items()}
    ratio = {name: middle["engine"][name] / middle["reference"][name] for name in middle["engine"]}
    # A step is counted as three forward passes, as usual.
    work = gflop_an_image(case) * (3 if job == "training" else 1)
    share = middle["engine"]["images_per_second"] * work / limit
    return {"case": case, "job": job, **middle, "ratio": ratio, "share_of_ceiling": share}


def main() -> None:
    """Measure all cases, print the ratios, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--output", type=Path, default=RESULTS / "engine.json")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "CASE", "JOB"), help="used by itself")
    chosen = parser.parse_args()
    if chosen.worker:
        side, case, job = chosen.worker
        print(json.dumps(measure(side, case, job, chosen.images)))
        return
    limit = ceiling()
    rows = []
    for case in CASES:
        for job in JOBS:
            row = compare(case, job, chosen.images, chosen.rounds, limit)
            rows.append(row)
            speeds = [f"{row[side]['images_per_second']:,.0f}" for side in ("reference", "engine")]
            print(
                f"{case}, {job}: {' → '.join(speeds)} images/s, ×{row['ratio']['images_per_second']:.2f}; "
                f"memory ×{row['ratio']['peak_mib']:.2f}; first step {row['engine']['first_step']:.1f} s; "
                f"{100 * row['share_of_ceiling']:.0f} % of the ceiling",
                flush=True,
            )
    made = {"images": chosen.images, "rounds": chosen.rounds, "ceiling_gflop_per_second": limit}
    write_json(chosen.output, made | {"rows": rows} | provenance(CPU))


if __name__ == "__main__":
    main()
