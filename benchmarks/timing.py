"""How benchmarks take time and memory, each measurement in a process of its own, and compare two sides."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from dqroute.data.image_set import AnySplit
from dqroute.models.device import computes_in_bf16, cpu_has

Numbers = dict[str, float]
Side = TypeVar("Side")
RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
PRECISION = "bf16" if computes_in_bf16(CPU) else "fp32"


def unit() -> str:
    """What the processor multiplies with, by which a result is named: how much there is to gain depends on it."""
    return PRECISION if PRECISION == "fp32" else "bf16-amx" if cpu_has("amx_tile") else "bf16-avx512"


def timed(predict: Callable[[AnySplit], object], few: AnySplit, split: AnySplit) -> tuple[float, float]:
    """Images/s of the second call, and seconds of the first one, on few images."""
    started = time.perf_counter()
    predict(few)
    first = time.perf_counter() - started
    started = time.perf_counter()
    predict(split)
    return len(split) / (time.perf_counter() - started), first


def peak_mib() -> float:
    """The most memory this process has held, in MiB; its children, such as a loader's workers, not counted."""
    status = Path("/proc/self/status")
    if status.is_file():
        # A child of Linux begins with its parent's getrusage, so that a large parent would be what is measured.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return float("nan")  # Windows has no such module.
    # Kibibytes; on macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def in_turn(
    commands: Mapping[Side, Sequence[str]], rounds: int, environment: Mapping[str, str] | None = None
) -> dict[Side, list[Numbers]]:
    """What `measure.py` prints when it is told to be one measurement: every side's in turn, round by round.

    A process of its own each, so that its peak of memory is its own; in turn, so that a slow minute hits all.
    """
    found: dict[Side, list[Numbers]] = {side: [] for side in commands}
    for _ in range(rounds):
        for side, arguments in commands.items():
            command = [sys.executable, str(Path(__file__).with_name("measure.py")), *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            found[side].append(json.loads(done.stdout))
    return found


def side_by_side(reference: list[Numbers], engine: list[Numbers]) -> dict[str, Numbers]:
    """Medians of the rounds of either side, and engine over reference, number by number."""
    both = {"reference": reference, "engine": engine}
    middle = {side: {n: median(r[n] for r in rounds) for n in rounds[0]} for side, rounds in both.items()}
    return middle | {"ratio": {n: middle["engine"][n] / middle["reference"][n] for n in middle["engine"]}}
