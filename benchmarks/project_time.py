"""How long a full training on a large set takes, projected: what is measured, what is assumed.

    python benchmarks/project_time.py PATH --output benchmarks/results/projection.json    # PATH: JPEG photographs

An epoch takes the longer of two times, because decoding and training run side by side:

    input    training images / (images/s of a core, measured here × cores)
    compute  3 × operations of a forward pass × training images / (operations per second)

A backward pass counts as two forward passes; operations are counted by `dqroute.cost`. The validation images after each
epoch and the test images at the end cost a forward pass each. Operations per second are measured on a core of this
processor. No GPU is measured: for one and for eight, the maker's peak times a share of it is assumed, a low share and a
high one, with the cores beside a GPU and the loss of eight that wait for each other. Grouped convolutions (ResNeXt) and
the many small layers of a ResNet keep far from the peak; take the low share for the former.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from photographs import make_photographs, one_thread, photographs, pipeline_row
from torch.nn import functional as F

from dqroute.cost import operations
from dqroute.engine import precision_context, uses_bf16
from dqroute.files import write_json
from dqroute.networks import ExpertNetwork
from dqroute.provenance import processor
from dqroute.settings import PRESETS

SIDE = 224


class Assumed(NamedTuple):
    """What is not measured.

    Attributes:
        peak: operations per second of one GPU in bf16, without sparsity, from its maker's data sheet.
        low, high: the share of the peak that training reaches, at worst and at best.
        cores: of the processor for each GPU, as fast as the core that was measured.
        scaling: eight GPUs' speed over eight times that of one.
    """

    gpu: str = "NVIDIA A100"
    peak: float = 312e12
    low: float = 0.1
    high: float = 0.3
    cores: int = 12
    scaling: float = 0.9


class Case(NamedTuple):
    """A training to project: the preset's schedule on a published set's numbers of images."""

    preset: str
    backbone: str
    experts: int
    classes: int
    train: int
    val: int
    test: int


IMAGENET = (1000, 115_846, 20_000, 50_000)
PLACES = (365, 62_500, 7_300, 36_500)
CASES = [
    Case("imagenet-lt", "resnet50", 1, *IMAGENET),
    Case("imagenet-lt", "resnet50", 3, *IMAGENET),
    Case("imagenet-lt", "resnext50_32x4d", 1, *IMAGENET),
    Case("imagenet-lt", "resnext50_32x4d", 3, *IMAGENET),
    Case("places-lt", "resnet152", 1, *PLACES),
    Case("places-lt", "resnet152", 3, *PLACES),
]


def forward_operations(case: Case) -> int:
    """Operations of one image's forward pass, counted on weights of any value, since drawing them takes longest."""
    with torch.device("meta"):
        network = ExpertNetwork(case.backbone, case.classes, 3, case.experts, PRESETS[case.preset].shared_depth)
    return operations(network.to_empty(device="cpu"), (3, SIDE, SIDE))


def hours(case: Case, forward: int, computed: float, read: float) -> dict[str, Any]:
    """Hours of a training, and which of the two times decides.

    Args:
        case: what is trained.
        forward: operations of one image's forward pass.
        computed: operations per second.
        read: images/s that are decoded and cropped.
    """
    compute, reading = 3 * forward * case.train / computed, case.train / read

    def looked_at(images: int) -> float:
        return max(forward * images / computed, images / read)

    epochs = PRESETS[case.preset].epochs
    seconds = epochs * (max(compute, reading) + looked_at(case.val)) + looked_at(case.test)
    return {"hours": seconds / 3600, "decided_by": "compute" if compute >= reading else "input"}


def rows(rate: float, speed: float, assumed: Assumed, cases: list[Case] = CASES) -> list[dict[str, Any]]:
    """A row for each case: what it costs, on a core as measured, and on one GPU and eight as assumed.

    Args:
        rate: images/s that one core decodes and crops; speed: operations per second of a core.
        assumed: of the GPUs.
        cases: what to project.
    """
    found = []
    for case in cases:
        forward = forward_operations(case)
        row = case._asdict() | {"forward_operations": forward, "one_core": hours(case, forward, speed, rate)}
        for gpus in (1, 8):
            whole = gpus * assumed.peak * (assumed.scaling if gpus > 1 else 1.0)
            read = gpus * assumed.cores * rate
            row[f"{gpus}_gpu"] = {s: hours(case, forward, whole * getattr(assumed, s), read) for s in ("low", "high")}
        found.append(row)
    return found


def in_words(row: dict[str, Any]) -> str:
    """A row as one line."""
    times = [f"a core of this processor {row['one_core']['hours'] / 24:,.0f} days"]
    for gpus in (1, 8):
        best, worst = row[f"{gpus}_gpu"]["high"], row[f"{gpus}_gpu"]["low"]
        decided = " or ".join(sorted({best["decided_by"], worst["decided_by"]}))
        times.append(f"{gpus} GPU{'s' * (gpus > 1)} {best['hours']:.1f} to {worst['hours']:.1f} h ({decided} decides)")
    return (
        f"{row['preset']}, {row['backbone']}, {row['experts']} expert{'s' * (row['experts'] > 1)}, "
        f"{row['forward_operations'] / 1e9:.1f} GFLOP an image: {'; '.join(times)}"
    )


def speed_of_a_core(backbone: str = "resnet50", batch: int = 8, steps: int = 3) -> float:
    """Operations per second of the processor's time in training, at the engine's precision; the first step left out."""
    network = ExpertNetwork(backbone, 1000).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    with one_thread():
        for step in range(1 + steps):
            if step == 1:
                started = time.process_time()
            with precision_context("auto", torch.device("cpu")):
                logits = network(images).logits[0]
            F.cross_entropy(logits, torch.arange(batch)).backward()
        seconds = time.process_time() - started
    return 3 * operations(network, (3, SIDE, SIDE)) * batch * steps / seconds


def measured(path: Path | None, images: int, rounds: int) -> dict[str, Any]:
    """The input pipeline's row of `photographs.py`: given photographs, or made-up ones."""
    if path is not None:
        return pipeline_row(photographs(path, images), rounds) | {"source": "given"}
    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder), images)
        return pipeline_row(photographs(Path(folder), images), rounds) | {"source": "made up"}


def main() -> None:
    """Measure the input, project, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "path", type=Path, nargs="?", help="a folder of JPEG photographs; without one, some are made up"
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    for name, default in Assumed()._asdict().items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"assumed; default {default}")
    parser.add_argument("--output", type=Path, help="write the result here too, as JSON")
    chosen = parser.parse_args()
    assumed = Assumed(*(getattr(chosen, name) for name in Assumed._fields))
    pipeline = measured(chosen.path, chosen.images, chosen.rounds)
    rate, speed = pipeline["images_per_second_of_a_core"]["engine"], speed_of_a_core()
    result: dict[str, Any] = {
        "machine": {
            "processor": processor(),
            "precision": "bf16" if uses_bf16("auto", torch.device("cpu")) else "fp32",
        },
        "measured": {"input": pipeline, "operations_per_second_of_a_core": speed},
        "assumed": assumed._asdict(),
        "rows": rows(rate, speed, assumed),
    }
    print(
        f"measured on a core: {rate:.0f} images/s read ({pipeline['images']} photographs {pipeline['source']}), "
        f"{speed / 1e9:.0f} GFLOP/s computed"
    )
    print(f"assumed: {json.dumps(assumed._asdict())}")
    for row in result["rows"]:
        print(in_words(row))
    if chosen.output:
        write_json(chosen.output, result)


if __name__ == "__main__":
    main()
