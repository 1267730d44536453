"""Draw the picture of the README and the introduction from the runs in book/results."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

from dqroute import show as plots
from dqroute.runs.run import find_runs

ROOT = Path(__file__).resolve().parent.parent
METHODS = ["cross-entropy", "logit-adjustment", "focused", "ride", "sade", "dqroute"]


def draw(target: Path = ROOT / "book" / "assets" / "cifar-100.svg") -> Path:
    """Accuracy by shot group on CIFAR-100-LT; the same runs give the same file, byte by byte."""
    found = find_runs(ROOT / "book" / "results" / "cifar-100")
    shown = [run for run in found if run.method in METHODS and run.settings["data"]["imbalance"] == 100]
    runs = sorted(shown, key=lambda run: (METHODS.index(run.method), run.seed))
    matplotlib.rcParams["svg.hashsalt"] = "dqroute"
    figure = plots.accuracy_by_group(runs)
    figure.savefig(target, metadata={"Date": None}, facecolor="white")
    return target


if __name__ == "__main__":
    print(draw().relative_to(ROOT))
