"""Draw the picture of the README and the introduction from the runs in book/results."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

from dqroute import show
from dqroute.runs.published import read_published

ROOT = Path(__file__).resolve().parent.parent
METHODS = ["cross-entropy", "logit-adjustment", "focused", "ride", "sade", "dqroute"]


def draw(target: Path = ROOT / "book" / "assets" / "cifar-100.svg") -> Path:
    """Accuracy by shot group on CIFAR-100-LT; the same runs give the same file, byte by byte."""
    found = read_published(ROOT / "book" / "results" / "cifar-100.jsonl")
    runs = {method: [run for run in found if run.method == method] for method in METHODS}
    matplotlib.rcParams["svg.hashsalt"] = "dqroute"
    figure = show.accuracy_by_group(runs)
    figure.savefig(target, metadata={"Date": None}, facecolor="white")
    return target


if __name__ == "__main__":
    print(draw().relative_to(ROOT))
