"""Make the runs of the chapter on what made the difference: every part changed, every method in three worlds, and
methods told the true difficulty there; one network that the experts share whole, and rivals of its size.

    python tools/parts.py [--runs runs] [--seeds 0,1,2] [--to book/results]
    python tools/parts.py --photographs folder:cifar-100 [...]      # the parts that count most, on photographs
    python tools/parts.py --photographs folder:cifar-100 --imbalance 50 --families shared [...]

Of characters each seed has a draw of images and a dealing of counts of its own, of photographs all seeds share one
draw. Runs that are there are found.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from publish import copy_run
from told import Told, WeightedByTruth

import dqroute as dq
from dqroute.core.checks import choose
from dqroute.data import ImageSet
from dqroute.runs.curves import trade_off_of

PICTURES: dict[str, Any] = {"imbalance": 100, "n_max": 200, "size": 16, "test_per_class": 50}
TRAINING: dict[str, Any] = {"epochs": 8, "optimizer": "muon", "kernel_lr": 0.05}
BASELINES = ("cross-entropy", "class-balanced", "ldam", "logit-adjustment", "focused", "ride", "sade")
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
# Registered by main alone, because they are the characters' only.
KNOWING: dict[str, type[dq.Method]] = {"told": Told, "weighted-told": WeightedByTruth}
# By the preset "laptop" on photographs, in the order of what one would ask first.
PHOTOGRAPHED: tuple[dict[str, Any], ...] = (
    {"strength": 0.0},
    {"alpha": 0.0},
    {"alpha": 1.0},
    {"outsiders": 1.0},
    {"experts": 1},
    {"memory": 1.0},
    {"detector": "energy"},
)
# One branch as large as DQRoute's three: as many operations and parameters, to a hundredth.
WIDE: dict[str, Any] = {"branch_width": 1.8}
# Experts that are classifiers of one network, which costs what three branches cost, or one; and one without experts.
SHARED: dict[str, Any] = {"shared_depth": 3}
ONE_NETWORK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dqroute", SHARED | WIDE),
    ("ride", SHARED | WIDE),
    ("sade", SHARED | WIDE),
    ("weighted", WIDE),
    ("dqroute", SHARED),
    ("weighted", {}),
)
FAMILIES = ("worlds", "told", "rivals", "shared", "parts")


class Asked(NamedTuple):
    """One run: of which family, of which method with which changes, in which world, from which seed."""

    family: str
    method: str
    changes: dict[str, Any]
    correlation: int
    seed: int


def asked(seeds: Iterable[int]) -> Iterator[Asked]:
    """All runs of these seeds, those on the same images one after the other."""
    for seed in seeds:
        for correlation in (-1, 1, 0):
            for method in BASELINES:
                yield Asked("worlds", method, {}, correlation, seed)
            for changes in WEIGHTS:
                yield Asked("worlds", "dqroute", changes, correlation, seed)
            for alpha in (1.0, 0.5):
                yield Asked("told", "told", {"alpha": alpha}, correlation, seed)
            for hardness in (-1.0, 0.0, 1.0):
                yield Asked("told", "weighted-told", {"hardness": hardness}, correlation, seed)
            for method, changes in ONE_NETWORK:
                yield Asked("shared", method, changes, correlation, seed)
        yield Asked("rivals", "focused", WIDE, 0, seed)
        for option, values in PARTS.items():
            for value in values:
                yield Asked("parts", "dqroute", {option: value}, 0, seed)


def photographed() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """All that is trained on photographs from each seed: family, method, changes."""
    for changes in PHOTOGRAPHED:
        yield "parts", "dqroute", changes
    yield "rivals", "focused", WIDE
    for method, changes in ONE_NETWORK:
        yield "shared", method, changes


@lru_cache(maxsize=1)
def pictures(correlation: int, seed: int) -> ImageSet:
    """The images of a world."""
    return dq.load("glyphs", difficulty_correlation=correlation, seed=seed, **PICTURES)


def leave(run: dq.Run, data: ImageSet, target: Path | None) -> dq.Report:
    """The run's report, beside its trade-off curve; what is published of it copied below the target, where given."""
    report = dq.evaluate(run)
    trade_off_of(run, data)
    if target:
        copy_run(run.folder, target / data.name)
    return report


def main() -> None:
    """Train or find each run, leave its report and trade-off curve, and copy it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--photographs", metavar="DATA", help="as for dqroute.load; these instead of characters")
    parser.add_argument("--imbalance", type=float, default=100, help="that photographs are thinned to")
    parser.add_argument("--families", default=",".join(FAMILIES), help="which runs; all by default")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where what is published of each run is copied to")
    chosen = parser.parse_args()
    for name, told in KNOWING.items():
        dq.register(name)(told)
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    families = [choose("family", name, FAMILIES) for name in chosen.families.split(",")]
    given: dict[str, Any] = {"progress": False, "device": "cpu"}
    if chosen.photographs:
        data = dq.load(chosen.photographs, imbalance=chosen.imbalance)
        kind = "photographs" if chosen.imbalance == 100 else f"photographs-{chosen.imbalance:g}"
        for (family, method, changes), seed in product(photographed(), seeds):
            if family not in families:
                continue
            folder = chosen.runs / f"{kind}-{family}"
            run = dq.fit(method, data, seed=seed, runs_dir=folder, **given, **changes)
            report = leave(run, data, chosen.to and chosen.to / folder.name)
            print(f"{method} {changes} seed {seed}: {100 * report.overall:.1f} %", flush=True)
        return
    for family, method, changes, correlation, seed in asked(seeds):
        if family not in families:
            continue
        data = pictures(correlation, seed)
        run = dq.fit(method, data, seed=seed, runs_dir=chosen.runs / family, **given, **TRAINING | changes)
        report = leave(run, data, chosen.to and chosen.to / f"glyphs-{family}")
        print(f"{method} {changes or ''} world {correlation:+d} seed {seed}: {100 * report.overall:.1f} %", flush=True)


if __name__ == "__main__":
    main()
