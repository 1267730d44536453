"""Does a short schedule reach the accuracy of the field's recipe, and in how much less time?

    python benchmarks/time_to_accuracy.py DATA '{"imbalance": 100, "val": 20}' [--seeds 0,1,2] [--recipe-seeds 0]
        [--settings '{"batch_size": 128, "kernel_lr": 0.05}'] [--recipe-settings '{"epochs": 50}']

The recipe is logit adjustment by the ``paper`` preset: SGD, 200 epochs, rates falling in steps. The short schedule is
the ``short`` preset: the same network by Muon, a cosine, less than a fifth of the epochs. Either can be changed.
Accuracies are of the last epoch on validation images. An epoch of either is timed in turn, on the same machine in the
same minutes, nothing compiled; the share of the time is that of an epoch, times that of the epochs. Trainings are found
again in ``--runs``, and go on where they were interrupted, so that seeds can be added over days.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

import dqroute as dq
from dqroute.data import ImageSet
from dqroute.data.disk import write_json
from dqroute.runs.provenance import provenance
from dqroute.runs.run import default_runs_dir
from dqroute.sweep.parameters import as_options

RESULTS = Path(__file__).parent / "results"
GROUPS = ("overall", "many", "medium", "few")


def trained(data: ImageSet, seeds: list[int], runs_dir: Path, **changes: Any) -> list[dict[str, Any]]:
    """One row a seed: accuracies in % on validation images, and where they come from.

    Args:
        changes: the preset, and what is changed in it.
    """
    rows = []
    for seed in seeds:
        run = dq.fit("logit-adjustment", data, seed=seed, runs_dir=runs_dir, **changes)
        report = dq.evaluate(run, split="val")
        accuracy = {name: 100 * getattr(report, name) for name in GROUPS}
        rows.append({"seed": seed, "run": run.folder.name, "settings": run.settings["training"]} | accuracy)
        print(changes, rows[-1], flush=True)
    return rows


def seconds_an_epoch(data: ImageSet, sides: dict[str, dict[str, Any]], rounds: int) -> dict[str, float]:
    """Each side's second epoch, timed in turn, medians; the first one meets everything for the first time."""
    spent: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, changes in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                given = changes | {"epochs": 2, "warmup": 0.0, "runs_dir": folder, "progress": False}
                run = dq.fit("logit-adjustment", data, compile=False, **given)
                spent[side].append(run.epochs[1]["seconds"])
    return {side: median(seconds) for side, seconds in spent.items()}


def compare(recipe: list[dict[str, Any]], short: list[dict[str, Any]]) -> dict[str, Any]:
    """Overall accuracy of the short schedule less the recipe's: means, and pairs where both have the seed."""
    by_seed = {row["seed"]: row["overall"] for row in recipe}
    pairs = {row["seed"]: row["overall"] - by_seed[row["seed"]] for row in short if row["seed"] in by_seed}
    means = mean(row["overall"] for row in short), mean(by_seed.values())
    return {"overall_minus_recipe": means[0] - means[1], "by_seed": pairs}


def main() -> None:
    """Train both, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("options", nargs="?", default='{"val": 0.2}', help="of dqroute.load, as JSON")
    parser.add_argument("--settings", default="{}", help="changes to the short schedule, as JSON")
    parser.add_argument("--recipe-settings", default="{}", help="changes to the recipe, as JSON")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipe-seeds", help="by default those of --seeds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=default_runs_dir())
    parser.add_argument("--output", type=Path, default=RESULTS / "time_to_accuracy.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, **as_options(chosen.options))
    sides = {
        "recipe": {"preset": "paper"} | as_options(chosen.recipe_settings),
        "short": {"preset": "short"} | as_options(chosen.settings),
    }
    seeds = {"short": chosen.seeds, "recipe": chosen.recipe_seeds or chosen.seeds}
    rows = {
        side: trained(data, [int(s) for s in seeds[side].split(",")], chosen.runs, **sides[side])
        for side in ("short", "recipe")
    }
    found = compare(rows["recipe"], rows["short"])
    seconds = seconds_an_epoch(data, sides, chosen.rounds)
    whole = {side: seconds[side] * rows[side][0]["settings"]["epochs"] for side in sides}
    share = whole["short"] / whole["recipe"]
    found |= {"seconds_an_epoch": seconds, "share_of_time": share}
    print(found)
    write_json(chosen.output, rows | {"data": data.identity} | found | provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
