"""Reference and engine in turn: `make bench`. Prints ratios and writes them to benchmarks/results/.

Each measurement is a process of its own, so that peak memory is its own; reference and engine alternate, so that a
slow minute of the machine hits both; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import encoding
import photographs
import torch
from ceiling import ceiling
from method_cost import method_cost
from timing import CPU, PRECISION, RESULTS, in_turn, peak_mib, side_by_side, timed, unit

import dqroute as dq
from dqroute.core.long_tail import shot_groups
from dqroute.data import Augmentation, ImageSet, Split
from dqroute.data.disk import write_json
from dqroute.methods.base import METHODS, Method, Problem
from dqroute.models.cost import operations
from dqroute.runs.provenance import provenance
from dqroute.training.settings import PRESETS

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-32, one branch": ("logit-adjustment", {}),
    "ResNet-32, three experts": ("dqroute", {}),
    "ResNet-32, three experts, reduced": ("dqroute", {"branch_width": 0.75}),
}
JOBS = ("training", "training, compiled", "inference")
PREDICTED = 10_000


def noise_images(number: int, num_classes: int = 100) -> ImageSet:
    """32x32 images of noise: for speed their content does not matter."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(number) % num_classes)
    names = tuple(str(c) for c in range(num_classes))
    groups = shot_groups([number] * num_classes, "thirds")
    return ImageSet("noise", split, split, names, groups, Augmentation(), {"name": "noise", "images": number})


def fitted(case: str, data: ImageSet, epochs: int, folder: str, compile: bool = False) -> dq.Run:
    """A run of the engine, as any user starts it."""
    method, changes = CASES[case]
    given: dict[str, Any] = {"preset": "paper", "epochs": epochs, "warmup": 0.0, "runs_dir": folder} | changes
    return dq.fit(method, data, compile=compile, progress=False, device="cpu", **given)


def untrained(case: str, data: ImageSet) -> Method:
    """The network before any training, without the engine having run in this process."""
    method, changes = CASES[case]
    mean, std = data.train.statistics
    problem = Problem(data.counts, data.groups, data.shape[0], mean, std, "resnet32", size=data.shape[1:], **changes)
    model = METHODS[method](problem)
    model.precision = "auto"
    return model


def measure(side: str, case: str, job: str, images: int) -> dict[str, float]:
    """One measurement in this process: images/s, seconds to the end of the first step, peak memory in MiB.

    The first step of a compiled training contains the compilation. Predictions are of 10,000 images, the field's usual
    number.
    """
    few, data = noise_images(128), noise_images(PREDICTED if job == "inference" else images)
    compile = job == "training, compiled"
    with tempfile.TemporaryDirectory() as folder:
        if side == "engine":
            if job != "inference":
                started = time.perf_counter()
                fitted(case, few, 1, folder, compile)
                first = time.perf_counter() - started
                records = fitted(case, data, 3, folder, compile).epochs[1:]
                speed = median(len(data.train) / record["seconds"] for record in records)
            else:
                # As a process that loads a model does, and trains nothing.
                model = untrained(case, few).eval()
                speed, first = timed(lambda split: model.predict(split.images), few.splits["test"], data.splits["test"])
        else:
            # Here, so that the engine's process does not carry the reference's imports.
            import reference

            model = untrained(case, few)
            if job != "inference":
                training = vars(PRESETS["paper"])
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
                speed, first = timed(
                    lambda split: reference.predicted_labels(model, split), few.splits["test"], data.splits["test"]
                )
    return {"images_per_second": speed, "first_step": first, "peak_mib": peak_mib()}


def gflop_an_image(case: str) -> float:
    """Operations of one forward pass in 10^9."""
    few = noise_images(100)
    return operations(untrained(case, few).network, few.shape) / 1e9


def compare(case: str, images: int, rounds: int, limit: float) -> list[dict[str, Any]]:
    """Reference and engine in turn, round by round; the medians side by side, one row a job."""
    sides = [("reference", "training"), ("reference", "inference"), *(("engine", job) for job in JOBS)]
    commands = {(side, job): ["--images", str(images), "--worker", side, case, job] for side, job in sides}
    # Compiled code is kept there between processes: the first round compiles, the others find it.
    with tempfile.TemporaryDirectory() as cache:
        found = in_turn(commands, rounds, os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache})
    work = gflop_an_image(case)
    rows = []
    for job in JOBS:
        reference, engine = found["reference", job.partition(",")[0]], found["engine", job]
        compared = side_by_side(reference, engine)
        # A step is counted as three forward passes, as usual.
        share = compared["engine"]["images_per_second"] * work * (1 if job == "inference" else 3) / limit
        rows.append({"case": case, "job": job, **compared, "share_of_ceiling": share})
        if job == "training, compiled":
            rows[-1]["compilation"] = engine[0]["first_step"]
    return rows


def main() -> None:
    """Measure all cases, print the ratios, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--output", type=Path, default=RESULTS / f"engine-{unit()}.json")
    parser.add_argument("--photographs", type=Path, help="a folder of JPEG files; made up unless given")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "CASE", "JOB"), help="used by itself")
    chosen = parser.parse_args()
    if chosen.worker:
        side, case, job = chosen.worker
        if case == encoding.CASE:
            print(json.dumps(encoding.measure(side, chosen.photographs, chosen.images)))
        elif case == photographs.CASE:
            print(json.dumps(photographs.measure(side, job, chosen.photographs, chosen.images)))
        else:
            print(json.dumps(measure(side, case, job, chosen.images)))
        return
    unfinished = chosen.output.with_name(f"unfinished-{chosen.output.name}")
    made: dict[str, Any] = {"precision": PRECISION, "images": chosen.images, "rounds": chosen.rounds, "rows": []}
    for case in CASES:
        # Measured beside each case: a machine's speed may wander.
        limit = ceiling(CPU)
        for row in compare(case, chosen.images, chosen.rounds, limit):
            made["rows"].append(row | {"ceiling_gflop_per_second": limit})
            print(in_words(row), flush=True)
        # What stands so far, should the rest fail; the result itself is replaced when all of it is there.
        write_json(unfinished, made | provenance(CPU))
    made["method"] = [method_cost(num_classes) for num_classes in (100, 8000)]
    for cost in made["method"]:
        print(
            f"the method's own work with {cost['classes']:,} classes: {100 * cost['share']:.1f} % of a step", flush=True
        )
    made["photographs"] = photographs.rows(chosen.photographs, ceiling(CPU))
    print(photographs.in_words(made["photographs"][0]))
    for row in made["photographs"][1:]:
        print(in_words(row))
    write_json(chosen.output, made | provenance(CPU))
    unfinished.unlink()
    encoding.publish(chosen.photographs)


def in_words(row: dict[str, Any]) -> str:
    """A row as one line."""
    rates = [row[side]["images_per_second"] for side in ("reference", "engine")]
    speeds = [f"{rate:,.{1 if rate < 100 else 0}f}" for rate in rates]
    compilation = f" ({row['compilation']:.0f} s with nothing compiled before)" if "compilation" in row else ""
    return (
        f"{row['case']}, {row['job']}: {' → '.join(speeds)} images/s, ×{row['ratio']['images_per_second']:.2f}; "
        f"memory ×{row['ratio']['peak_mib']:.2f}; first step {row['engine']['first_step']:.1f} s{compilation}; "
        f"{100 * row['share_of_ceiling']:.0f} % of the ceiling"
    )


if __name__ == "__main__":
    main()
