"""Draw the picture of the README and the introduction from the runs in book/results."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import torch

matplotlib.use("svg")

from dqroute import show
from dqroute.core.long_tail import ShotGroups
from dqroute.runs.published import read_published
from dqroute.runs.run import Run
from dqroute.runs.tables import by_options

ROOT = Path(__file__).resolve().parent.parent
RUNS = {"judged on training images": "dqroute, judge=training", "judged out of fold": "dqroute"}


def draw(target: Path = ROOT / "book" / "assets" / "judges.svg") -> Path:
    """Tracked difficulty against test error, of one draw; the same runs give the same file, byte by byte."""
    found = by_options(read_published(ROOT / "book" / "results" / "photographs.jsonl.gz"))
    panels = {name: points(next(run for run in found[row] if run.seed == 0)) for name, row in RUNS.items()}
    matplotlib.rcParams["svg.hashsalt"] = "dqroute"
    figure = show.by_class(panels, "error on test photographs, %", "tracked difficulty")
    figure.savefig(target, metadata={"Date": None}, facecolor="white")
    return target


def points(run: Run) -> tuple[torch.Tensor, torch.Tensor, ShotGroups]:
    """Test error in % and tracked difficulty of each class, and the shot groups."""
    report = run.report()
    assert report is not None
    error = torch.tensor([100 - 100 * (share or 0) for share in report.per_class])
    return error, torch.tensor(run.epochs[-1]["difficulty"]), run.groups


if __name__ == "__main__":
    print(draw().relative_to(ROOT))
