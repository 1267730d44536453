"""Does a short schedule reach the accuracy of the field's recipe, and in how much less time?

    python benchmarks/time_to_accuracy.py DATA '{"imbalance": 100, "val": 20}' --epochs 40 [--backbone resnet8]
        [--seeds 0,1,2] [--settings '{"weight_decay": 0.001}']

The recipe is logit adjustment by the ``paper`` preset: 200 epochs, rates falling in steps. The short schedule is the
same network with a cosine and a fifth of the epochs; ``--settings`` changes it further. Accuracies are of the last
epoch on validation images; times are of training alone. Trainings are found again in ``--runs``, and go on where they
were interrupted, so that seeds can be added over days.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import dqroute as dq
from dqroute.data import ImageSet
from dqroute.files import write_json
from dqroute.parameters import as_options
from dqroute.provenance import provenance
from dqroute.runs import default_runs_dir

RESULTS = Path(__file__).parent / "results"
GROUPS = ("overall", "many", "medium", "few")


def trained(data: ImageSet, seeds: list[int], runs_dir: Path, **changes: Any) -> list[dict[str, Any]]:
    """One row a seed: accuracies in % on validation images, and seconds of training."""
    rows = []
    for seed in seeds:
        run = dq.fit("logit-adjustment", data, seed=seed, preset="paper", runs_dir=runs_dir, **changes)
        report = dq.evaluate(run, split="val")
        accuracy = {name: 100 * getattr(report, name) for name in GROUPS}
        rows.append({"seed": seed, "seconds": run.seconds, "settings": run.settings["training"]} | accuracy)
        print(changes, rows[-1], flush=True)
    return rows


def compare(recipe: list[dict[str, Any]], short: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences in overall accuracy paired by seed, and the share of the time."""
    return {
        "overall_minus_recipe": [a["overall"] - b["overall"] for a, b in zip(short, recipe, strict=True)],
        "share_of_time": mean(row["seconds"] for row in short) / mean(row["seconds"] for row in recipe),
    }


def main() -> None:
    """Train both, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("options", nargs="?", default='{"val": 0.2}', help="of dqroute.load, as JSON")
    parser.add_argument("--recipe-epochs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--backbone", default="resnet32")
    parser.add_argument("--settings", default="{}", help="of the short schedule, as JSON")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=Path, default=default_runs_dir())
    parser.add_argument("--output", type=Path, default=RESULTS / "time_to_accuracy.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, **as_options(chosen.options))
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    common = {"backbone": chosen.backbone}
    changes = {"schedule": "cosine", "warmup": 2.0} | as_options(chosen.settings)
    short = trained(data, seeds, chosen.runs, epochs=chosen.epochs, **(common | changes))
    recipe = trained(data, seeds, chosen.runs, epochs=chosen.recipe_epochs, **common)
    found = compare(recipe, short)
    print(found)
    made = {"recipe": recipe, "short": short, "data": data.identity} | found
    write_json(chosen.output, made | provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
