"""Accuracy against compute when experts are skipped, and how much faster a prediction really is.

    python benchmarks/sparse.py RUN_FOLDER DATA '{"imbalance": 100, "val": 20}'     # as for dqroute.load

Every threshold of both rules is tried on the validation images and on the test images, by asking of each image which
experts would have run; the experts run once. The threshold to quote is the one that saves most on the validation images
at a loss of 0.3 points at most; the test images choose nothing. Its speed is that of a real sparse prediction of the
test images, measured in turn with the dense one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import dqroute as dq
from dqroute.data import ImageSet
from dqroute.data.disk import write_json
from dqroute.data.image_set import AnySplit
from dqroute.methods.base import Method
from dqroute.methods.prediction import Prediction
from dqroute.models.cost import operations
from dqroute.models.experts import Ask, ExpertOutputs
from dqroute.runs.evaluate import check_data
from dqroute.runs.provenance import provenance
from dqroute.sweep.parameters import as_options

RESULTS = Path(__file__).parent / "results"
RULES = {
    "skip_below": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9),
    "sure_at": (1.0, 1.2, 1.35, 1.45, 1.55, 1.65, 1.75, 1.85, 2.0, 2.2, 2.5, 3.0, 4.0, 6.0, 10.0),
}
LOSS_ALLOWED = 0.003


def share_of_operations(prediction: Prediction, trunk: int, expert: int) -> float:
    """Operations of a sparse prediction as a share of the dense one's.

    Args:
        prediction: says which experts ran; trunk, expert: operations of the trunk and of one expert's branch.
    """
    experts = prediction.ran.shape[1]
    return (trunk + expert * prediction.ran.float().sum(dim=1).mean().item()) / (trunk + expert * experts)


def accuracy(prediction: Prediction, split: AnySplit) -> float:
    """Share of the images predicted rightly."""
    return (prediction.label == split.labels).float().mean().item()


def asked(outputs: ExpertOutputs, ask: Ask) -> ExpertOutputs:
    """The outputs with those experts left out that a rule would not have run."""
    logits: list[torch.Tensor] = []
    ran: list[torch.Tensor] = []
    for expert in outputs.logits:
        ran.append(ask(outputs.shared, logits, ran))
        logits.append(expert * ran[-1][:, None])
    run = torch.stack(ran)
    return outputs._replace(logits=torch.stack(logits), features=outputs.features * run[:, :, None], ran=run)


@torch.no_grad()
def curve(model: Method, data: ImageSet, outputs: dict[str, ExpertOutputs], rule: str) -> list[dict[str, Any]]:
    """Accuracy and operations at every threshold of a rule, validation and test."""
    trunk, everything = (operations(part, data.shape) for part in (model.network.trunk, model.network))
    expert = (everything - trunk) // model.network.experts
    points = []
    for threshold in RULES[rule]:
        point: dict[str, Any] = {"rule": rule, "threshold": threshold}
        for name, dense in outputs.items():
            ask = model.asks(**rule_of(rule, threshold))
            assert ask is not None
            prediction = model.answers(asked(dense, ask))
            point[name] = {
                "accuracy": accuracy(prediction, data.splits[name]),
                "operations": share_of_operations(prediction, trunk, expert),
                "experts": prediction.ran.sum(dim=1).float().mean().item(),
            }
        points.append(point)
    return points


def rule_of(name: str, threshold: float) -> dict[str, Any]:
    """A rule as `predict` takes it."""
    return {name: threshold}


def speed_ratio(model: Method, split: AnySplit, rounds: int, rule: dict[str, Any]) -> float:
    """Images/s of a sparse prediction over the dense one's, in turn, medians."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds + 1):
        for sparse, spent in times.items():
            started = time.perf_counter()
            model.predict(split, **(rule if sparse else {}))
            spent.append(time.perf_counter() - started)
    return median(times[False][1:]) / median(times[True][1:])


def main() -> None:
    """Draw the curves' points, choose on validation, time the choice, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("options", nargs="?", default='{"val": 0.2}', help="of dqroute.load, as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "sparse.json")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, **as_options(chosen.options))
    run = dq.Run(chosen.run, data)
    check_data(run, data)
    model = run.model
    made: dict[str, Any] = {"run": run.settings, "rules": {}}
    outputs = {name: model.outputs_of(data.splits[name]) for name in ("val", "test")}
    with torch.no_grad():
        dense = {name: accuracy(model.answers(out), data.splits[name]) for name, out in outputs.items()}
    made["dense"] = dense
    print("dense", dense)
    for rule in RULES:
        try:
            points = curve(model, data, outputs, rule)
        except ValueError as error:
            print(f"{rule}: {error}")
            continue
        allowed = [p for p in points if p["val"]["accuracy"] >= dense["val"] - LOSS_ALLOWED]
        best = min(allowed, key=lambda p: p["val"]["operations"], default=None)
        if best is not None:
            ratio = speed_ratio(model, data.test, chosen.rounds, rule_of(rule, best["threshold"]))
            best = best | {"speed": ratio, "lost_on_test": dense["test"] - best["test"]["accuracy"]}
        print(rule, best)
        made["rules"][rule] = {"points": points, "chosen": best}
    write_json(chosen.output, made | provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
