"""What each fusion rule makes of the experts of one trained run: for the choice of a rule, on validation images.

    python tools/fusions.py RUN_FOLDER DATA '{"imbalance": 100, "val": 20}'     # as for dqroute.load

The first table has the overall accuracy (many/medium/few) of each rule, and the overall accuracy where the prior
correction of ``dqroute.tradeoff`` brings the few-shot classes to a given accuracy. The second asks what there is to
gain: how many images of each group are right when the group is told, by the plain mean and by each expert alone. In %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import dqroute as dq
from dqroute.evaluate import data_of
from dqroute.long_tail import GROUP_NAMES, ShotGroups
from dqroute.method import Method
from dqroute.networks import ExpertOutputs
from dqroute.parameters import as_options
from dqroute.routing import FUSIONS, fuse
from dqroute.tradeoff import area, overall_at, trade_off

SHARES = (0.25, 0.75)
LEVELS = (15, 20, 25, 30, 35)


@torch.no_grad()
def predictions(model: Method, outputs: ExpertOutputs) -> dict[str, Tensor]:
    """Log-probabilities ``[N, C]`` (up to a constant an image) of every way to put the experts together."""
    given = model.log_odds(outputs), model.class_sets(), getattr(model, "temperature", 1.0)
    z = outputs.logits
    made = {rule: fuse(rule, z, *given).log_probability for rule in FUSIONS}
    for share in SHARES:
        advised = torch.lerp(z.mean(dim=0), z, share)
        made[f"rings, {share:g} of the ring's expert"] = fuse("nested", advised, *given).log_probability
    return made | {f"expert {k + 1}": expert for k, expert in enumerate(z)}


def compared(
    made: dict[str, Tensor], labels: Tensor, groups: ShotGroups, log_pi: Tensor, levels: tuple[int, ...]
) -> pd.DataFrame:
    """The first table: a row a prediction."""
    rows = {}
    for name, log_probability in made.items():
        plain = trade_off(log_probability, labels, groups, log_pi, [0.0])[0]
        points = trade_off(log_probability, labels, groups, log_pi)
        heights = {f"few {level}": overall_at(points, level / 100) for level in levels}
        whole = {f"area {levels[0]} to {levels[-1]}": area(points, levels[0] / 100, levels[-1] / 100)}
        rows[name] = {group: getattr(plain, group) for group in ("overall", *GROUP_NAMES)} | heights | whole
    return 100 * pd.DataFrame.from_dict(rows, orient="index")


def told_the_group(made: dict[str, Tensor], labels: Tensor, groups: ShotGroups) -> pd.DataFrame:
    """The second table: accuracy in each group among the classes of that group alone."""
    group_of_class = groups.of_class()
    same = group_of_class[labels][:, None] == group_of_class
    rows = {}
    for name, log_probability in made.items():
        right = (log_probability.masked_fill(~same, -torch.inf).argmax(dim=1) == labels).double()
        rows[name] = {
            group: right[group_of_class[labels] == index].mean().item() for index, group in enumerate(GROUP_NAMES)
        }
    return 100 * pd.DataFrame.from_dict(rows, orient="index")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("options", nargs="?", default='{"val": 0.2}', help="of dqroute.load, as JSON")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, help="few-shot accuracies in %%")
    chosen = parser.parse_args()
    data = dq.load(chosen.data, **as_options(chosen.options))
    run = dq.Run(chosen.run)
    model, split = run.model, data_of(run, data, chosen.split).splits[chosen.split]
    made = predictions(model, model.outputs_of(split))
    told = {name: made[name] for name in ("mean", *(name for name in made if name.startswith("expert")))}
    print(compared(made, split.labels, data.groups, model.log_pi.cpu(), tuple(chosen.levels)).round(2).to_string())
    print("\ntold the shot group:")
    print(told_the_group(told, split.labels, data.groups).round(1).to_string())


if __name__ == "__main__":
    main()
