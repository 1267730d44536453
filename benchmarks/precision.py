"""Do bf16 and compilation change the result? The same trainings three ways, over seeds, on validation images.

    python benchmarks/precision.py DATA '{"imbalance": 100, "val": 20}' [--method dqroute] [--epochs 12]

Prints the mean accuracy of each way, its differences from fp32 paired by seed, and the spread over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import dqroute as dq
from dqroute.data.disk import write_json
from dqroute.runs.provenance import provenance
from dqroute.runs.run import default_runs_dir
from dqroute.sweep.parameters import as_options

RESULTS = Path(__file__).parent / "results"
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "compile": False},
    "bf16": {"precision": "bf16", "compile": False},
    "bf16, compiled": {"precision": "bf16", "compile": True},
}


def main() -> None:
    """Train, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("options", nargs="?", default='{"val": 0.2}', help="of dqroute.load, as JSON")
    parser.add_argument("--method", default="logit-adjustment")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=default_runs_dir())
    parser.add_argument("--output", type=Path, default=RESULTS / "precision.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, **as_options(chosen.options))
    accuracy: dict[str, list[float]] = {way: [] for way in WAYS}
    settings = {}
    for seed in range(chosen.seeds):
        for way, changes in WAYS.items():
            # A folder a way: compilation does not tell runs apart.
            folder = chosen.runs / way.replace(", ", "-")
            run = dq.fit(chosen.method, data, seed=seed, epochs=chosen.epochs, runs_dir=folder, device="cpu", **changes)
            accuracy[way].append(100 * dq.evaluate(run, split="val").overall)
            settings = run.settings
    rows = {}
    for way, found in accuracy.items():
        differences = [here - there for here, there in zip(found, accuracy["fp32"], strict=True)]
        rows[way] = {"overall": found, "minus_fp32": differences}
        spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
        print(
            f"{way}: {mean(found):.2f}{spread} over seeds; minus fp32: {mean(differences):+.2f}",
            differences,
        )
    write_json(chosen.output, {"rows": rows, "run": settings} | provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
