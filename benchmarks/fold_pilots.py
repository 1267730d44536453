"""Judging out of fold where a network is trained from nothing: up to five more trainings, each without a fifth.

``python benchmarks/fold_pilots.py folder:DATA --network resnet8 resnet32`` trains DQRoute end to end, then its pilots,
which never saw the images that they judge. What the pilots say of these takes the place of what the network says of
images that it has learned: difficulty, fusion and calibration are fitted to either, for the same network, and both are
asked of the test images. Trainings lie in ``--work`` and go on when the script is called again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

import dqroute as dq
from dqroute.core.difficulty import DifficultyTracker
from dqroute.core.judging import first_of_each, fold_of
from dqroute.core.outputs import ExpertOutputs
from dqroute.core.rings import ENOUGH
from dqroute.data import ImageSet
from dqroute.data.disk import write_json
from dqroute.data.image_set import AnySplit
from dqroute.measures.accuracy import accuracies
from dqroute.methods.base import Method
from dqroute.methods.prediction import Judged
from dqroute.runs.provenance import provenance
from dqroute.runs.run import Run

RESULTS = Path(__file__).parent / "results"
FOLDS = 5
# The large network's experts are classifiers of one trunk: a branch each would cost three times as much.
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet8": {"preset": "laptop"},
    "resnet32": {"preset": "short", "shared_depth": 3},
}
SHOWN = ("overall", "many", "medium", "few", "worst")


def pilots(data: ImageSet, fold: Tensor, seed: int, number: int, given: dict[str, Any]) -> list[Run]:
    """A training without each of the first folds, the shot groups being those of all images."""
    found = []
    for held in range(number):
        rest = replace(
            data,
            train=data.train.at((fold != held).nonzero().flatten()),
            identity=data.identity | {"without_fold": [held, FOLDS, seed]},
        )
        found.append(dq.fit("dqroute", rest, seed=seed, fusion="rings", check=False, **given))
    return found


@torch.no_grad()
def said(model: Method, images: AnySplit) -> ExpertOutputs:
    """What the experts say, ``[K, N, C]``, and the features that they read."""
    parts = [model.outputs(batch) for batch in images.chunks(256)]
    return ExpertOutputs(*(torch.cat(column, dim=1) for column in zip(*parts, strict=True)))


def out_of_fold(runs: list[Run], data: ImageSet, fold: Tensor) -> Judged:
    """What the pilots say of the images that they were trained without."""
    logits, labels = [], []
    for held, run in enumerate(runs):
        images = data.train.at((fold == held).nonzero().flatten())
        logits.append(said(run.model, images).logits)
        labels.append(images.labels)
    return Judged(torch.cat(logits, dim=1), torch.cat(labels))


def difficulty(judged: Judged) -> Tensor:
    """Difficulty of each class by what was said of its images, ``[C]``."""
    tracker = DifficultyTracker(judged.logits.shape[2])
    tracker.observe(judged.logits.mean(dim=0).log_softmax(dim=1), judged.labels)
    tracker.end_epoch()
    return tracker.difficulty


def right(judged: Judged) -> float:
    """The share of images that the experts' mean has right."""
    return (judged.logits.mean(dim=0).argmax(dim=1) == judged.labels).float().mean().item()


def measured(data: ImageSet, network: str, seed: int, number: int, work: Path) -> dict[str, Any]:
    """One network and its pilots: how it predicts, judged on training images and out of fold."""
    given = NETWORKS[network] | {"runs_dir": work}
    run = dq.fit("dqroute", data, seed=seed, fusion="rings", check=False, **given)
    fold = fold_of(data.train.labels, FOLDS, seed=seed)
    those = pilots(data, fold, seed, number, given)
    few = data.train.at(first_of_each(data.train.labels, ENOUGH))
    judges = {
        "training": Judged(said(run.model, few).logits, few.labels),
        "out of fold": out_of_fold(those, data, fold),
    }
    assert data.test is not None
    test, labels, model = said(run.model, data.test), data.test.labels, run.model
    mean = test.logits.mean(dim=0)
    rows = {"plain mean": accuracies(mean.argmax(dim=1), labels, data.groups)}
    hits = labels[mean.argmax(dim=1) == labels].bincount(minlength=data.num_classes)
    error = 1 - hits / labels.bincount()
    ranks = {}
    for name, judged in judges.items():
        model.settle(judged)
        rows[f"calibrated, {name}"] = accuracies(model.calibration(mean).argmax(dim=1), labels, data.groups)
        rows[f"fused, {name}"] = accuracies(model.fuse(test).log_probability.argmax(dim=1), labels, data.groups)
        ranks[name] = spearmanr(difficulty(judged), error).statistic
    learned = Judged(said(model, data.train).logits, data.train.labels)
    return {
        "network": network,
        "seed": seed,
        "pilots": number,
        "right": {"training": right(learned), "out of fold": right(judges["out of fold"])},
        "rank_correlation": ranks,
        "test": {name: {of: row[of] for of in (*SHOWN, "harmonic")} for name, row in rows.items()},
        "seconds": {"network": run.seconds, "pilots": sum(pilot.seconds for pilot in those)},
        "settings": run.settings["training"],
    }


def table(found: list[dict[str, Any]]) -> str:
    """Accuracies in %, means over seeds."""
    rows = [
        {"network": one["network"], "row": name} | {of: 100 * row[of] for of in SHOWN}
        for one in found
        for name, row in one["test"].items()
    ]
    return pd.DataFrame(rows).groupby(["network", "row"], sort=False).mean().round(1).to_string()


def main() -> None:
    """Train, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a set's name, such as folder:PATH")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pilots", type=int, default=FOLDS, choices=range(1, FOLDS + 1), help="how many folds of five")
    parser.add_argument("--imbalance", type=float, default=100)
    parser.add_argument("--work", type=Path, default=Path("runs/fold-pilots"))
    parser.add_argument("--output", type=Path, default=RESULTS / "fold-pilots.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, imbalance=chosen.imbalance)
    found = []
    for network in chosen.network:
        for seed in chosen.seeds:
            found.append(measured(data, network, seed, chosen.pilots, chosen.work))
            write_json(chosen.output, {"found": found} | provenance(torch.device("cpu")))
    print(table(found))


if __name__ == "__main__":
    main()
