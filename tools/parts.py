"""Make the runs of the chapter on what made the difference: every part changed, every method in three worlds.

    python tools/parts.py [--runs runs/parts] [--seeds 0,1,2]

Each seed has a draw of images and a dealing of counts to characters of its own. Runs that are there are found. On two
processor cores all of it takes about an hour. ``tools/publish.py`` or a copy of everything but the weights brings them
to ``book/results/glyphs-worlds`` and ``book/results/glyphs-parts``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import dqroute as dq
from dqroute.curves import trade_off_of
from dqroute.data import ImageSet

PICTURES: dict[str, Any] = {"imbalance": 100, "n_max": 200, "size": 16, "test_per_class": 50}
TRAINING: dict[str, Any] = {"epochs": 8, "optimizer": "muon", "kernel_lr": 0.05}
BASELINES = ("cross-entropy", "class-balanced", "ldam", "logit-adjustment", "ride", "sade")
WEIGHTS: tuple[dict[str, Any], ...] = ({}, {"strength": 0.0}, {"alpha": 0.0}, {"alpha": 1.0})
PARTS: dict[str, tuple[Any, ...]] = {
    "outsiders": (1.0, 0.5, 0.1),
    "detector_weight": (0.0,),
    "fusion": ("mean", "logits", "probabilities", "restricted", "bayes"),
    "experts": (1, 2, 4),
    "detector": ("energy", "linear", "max-softmax", "trunk"),
    "memory": (1.0,),
    "tau": (0.0,),
    "alpha": (0.25, 0.75),
    "lam": (0.0, 2.0),
    "gamma": (0.5, 2.0),
    "strength": (1.0,),
    "shared_depth": (2,),
}


def made(method: str, data: ImageSet, seed: int, folder: Path, **changes: Any) -> None:
    """Train or find one run, and leave its report and trade-off curve."""
    run = dq.fit(method, data, seed=seed, runs_dir=folder, progress=False, device="cpu", **TRAINING | changes)
    report = dq.evaluate(run)
    trade_off_of(run, data)
    print(f"{method} {changes or ''} seed {seed}: {100 * report.overall:.1f} %", flush=True)


def main() -> None:
    """All runs, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/parts"))
    parser.add_argument("--seeds", default="0,1,2")
    chosen = parser.parse_args()
    for seed in map(int, chosen.seeds.split(",")):
        for correlation in (0, -1, 1):
            data = dq.load("glyphs", difficulty_correlation=correlation, seed=seed, **PICTURES)
            for method in BASELINES:
                made(method, data, seed, chosen.runs / "worlds")
            for changes in WEIGHTS:
                made("dqroute", data, seed, chosen.runs / "worlds", **changes)
        data = dq.load("glyphs", difficulty_correlation=0, seed=seed, **PICTURES)
        for option, values in PARTS.items():
            for value in values:
                made("dqroute", data, seed, chosen.runs / "parts", **{option: value})


if __name__ == "__main__":
    main()
