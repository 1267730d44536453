"""What DQRoute's own fit does for others: rings and a shift for each class, fitted out of fold to anybody's experts.

``python benchmarks/same_fit.py`` trains methods on the photographs that come with the package, ten draws, each with the
settings of ``book/photographs.yaml``. To the out-of-fold predictions that each leaves behind it fits three things: the
calibration that the book gives everybody (a temperature and a shift a ring); DQRoute's fit on the mean of the method's
experts, as if they were one; and DQRoute's fit on the experts themselves. All are asked of the test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import dqroute as dq
from dqroute.core.rings import RingFusion
from dqroute.data.disk import write_json
from dqroute.data.image_set import ImageSet
from dqroute.measures.accuracy import accuracies
from dqroute.runs.provenance import provenance
from dqroute.runs.tables import half_interval

RESULTS = Path(__file__).parent / "results"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "cross-entropy": ("cross-entropy", {}),
    "logit-adjustment": ("logit-adjustment", {}),
    "ldam": ("ldam", {"start": 0.5, "cosine_scale": 30.0}),
    "weighted": ("weighted", {"rarity": 0.25}),
    "ride": ("ride", {}),
    "sade": ("sade", {"tau": 1.0}),
    "balpoe": ("balpoe", {"mixup": 0.0}),
    "dqroute": ("dqroute", {}),
    "one head and the Gaussian": ("dqroute", {"experts": 1, "strength": 0.0}),
}
SHOWN = ("overall", "few", "worst")


def nested(data: ImageSet) -> Tensor:
    """The nested class sets, bool ``[3, C]``: all classes, medium and few, few."""
    group = data.groups.of_class()
    return torch.stack([group >= k for k in range(3)])


@torch.no_grad()
def measured(data: ImageSet, method: str, options: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
    """One training; how it predicts after each fit, shares from 0 to 1."""
    run = dq.fit(method, data, seed=seed, runs_dir=work, progress=False, **options)
    model, kept, test = run.model, run.judged, data.test
    assert test is not None
    said = torch.cat([model.outputs(batch).logits for batch in test.chunks(1000)], dim=1)
    judged, labels = kept["logits"].float(), kept["labels"]
    mean = said.mean(dim=0)
    ways = {"calibrated": model.calibration(mean)}
    for name, one, other in (
        ("DQRoute's fit on the mean", judged.mean(dim=0, keepdim=True), mean[None]),
        ("DQRoute's fit on the experts", judged, said),
    ):
        fusion = RingFusion(nested(data), len(one))
        fusion.fit(one, labels)
        ways[name] = fusion(other).log_probability
    found = {name: accuracies(scores.argmax(dim=1), test.labels, data.groups) for name, scores in ways.items()}
    return {name: {of: row[of] for of in SHOWN} for name, row in found.items()}


def by_way(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """What each way of predicting comes to, a list over draws for each measure."""
    return {way: {of: [round(draw[way][of], 5) for draw in draws] for of in SHOWN} for way in draws[0]}


def table(found: dict[str, dict[str, Any]]) -> str:
    """In %, means over draws with the half 95 % interval of the difference to the method's calibrated mean."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for method, ways in found.items():
        base = pd.DataFrame(ways["calibrated"])
        for way, draws in ways.items():
            values = 100 * pd.DataFrame(draws)
            gap = values - 100 * base
            rows[method, way] = {
                of: f"{values[of].mean():.1f} ({gap[of].mean():+.2f} ± {half_interval(gap[of]):.2f})" for of in SHOWN
            }
    return pd.DataFrame(rows).T.to_string()


def main() -> None:
    """Train, fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("runs/same-fit"))
    parser.add_argument("--output", type=Path, default=RESULTS / "same-fit.json")
    chosen = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in METHODS}
    for seed in range(chosen.draws):
        data = dq.load("photographs", imbalance=100, seed=seed)
        for name, (method, options) in METHODS.items():
            found[name].append(measured(data, method, options, seed, chosen.work))
        told = {name: by_way(draws) for name, draws in found.items()}
        write_json(chosen.output, {"found": told} | provenance(torch.device("cpu")))
    print(table(told))


if __name__ == "__main__":
    main()
