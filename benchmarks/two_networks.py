"""What a second pretrained network brings: as an expert of its own, fused by rings, and beside the first in one head.

``python benchmarks/two_networks.py folder:data/cifar-100 efficientnet-lite0 efficientnet-lite2`` draws the set five
times at an imbalance of 100, fits out of fold whatever fuses or calibrates, and prints accuracies on test images in %,
mean over draws ± half the 95 % interval, then differences in points, paired by draw.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import dqroute as dq
from dqroute.core.rings import RingFusion
from dqroute.data import FeatureSplit, ImageSet
from dqroute.measures.accuracy import accuracies
from dqroute.measures.calibration import Calibration
from dqroute.measures.curves import overall_at, trade_off
from dqroute.runs.tables import means

DRAWS = range(5)


def both(first: ImageSet, second: ImageSet) -> ImageSet:
    """The set with the features of both, one after the other."""
    a: Any = first.encoding
    b: Any = second.encoding
    encoding = replace(a, **{name: torch.cat([getattr(a, name), getattr(b, name)]) for name in ("centre", "scale")})
    parts: dict[str, Any] = {}
    for part, other in second.splits.items():
        features = torch.cat([getattr(of, part).features for of in (first, second)], dim=1)
        parts[part] = FeatureSplit(features, other.labels)
    told = first.identity | {"features": {"both": [of.identity["features"] for of in (first, second)]}}
    return replace(first, **parts, encoding=replace(encoding, axes=torch.block_diag(a.axes, b.axes)), identity=told)


def said(method: str, data: ImageSet, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a method's experts say out of fold, ``[K, N, C]``, of labels ``[N]``; and of test images."""
    run, test = dq.fit(method, data, seed=seed), data.splits["test"]
    rows = [run.model.outputs(some).logits for some in test.chunks(512)]
    return run.judged["logits"].float(), run.judged["labels"], torch.cat(rows, dim=1)


def answers(name: str, networks: list[str], seed: int) -> dict[str, dict[str, float]]:
    """The measures of each answer on one draw, in %."""
    sets = [dq.load(name, imbalance=100, seed=seed, backbone=network) for network in networks]
    one, other, joint = (said("logit-adjustment", data, seed) for data in [*sets, both(*sets)])
    routed, (first, second), data, found = said("dqroute", sets[0], seed), networks, sets[0], {}
    groups, labels, log_pi = data.groups, data.splits["test"].labels, (data.counts / data.counts.sum()).log()
    rings = torch.stack([groups.of_class() >= ring for ring in range(3)])
    for label, experts, fused in (
        (f"one head on {first}", [one], False),
        (f"one head on {second}", [other], False),
        ("the mean of these heads", [one, other], False),
        ("one head on both", [joint], False),
        (f"dqroute on {first}", [routed], True),
        (f"that and a head on {second}", [routed, other], True),
    ):
        known, test = (torch.cat([expert[which] for expert in experts]) for which in (0, 2))
        fusion = RingFusion(rings, len(test)) if fused else Calibration(groups.of_class())
        fusion.fit(known if fused else known.mean(dim=0), one[1])
        log_p = fusion(test).log_probability if fused else fusion(test.mean(dim=0))
        measured = accuracies(log_p.argmax(dim=1), labels, groups)
        found[label] = {of: 100 * measured[of] for of in ("overall", "few", "worst")}
        found[label]["overall at few 45 %"] = 100 * overall_at(trade_off(log_p, labels, groups, log_pi), 0.45)
    return found


if __name__ == "__main__":
    draws = [answers(sys.argv[1], sys.argv[2:4], seed) for seed in DRAWS]
    table = {label: pd.DataFrame([draw[label] for draw in draws]) for label in draws[0]}
    pairs = {f"{b} − {a}": table[b] - table[a] for a, b in combinations(table, 2)}
    print(f"{means(table).to_string()}\n\n{means(pairs).to_string()}")
