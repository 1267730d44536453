"""Write the runs of a grid to a file of published runs: settings, provenance, epochs, reports and curves, no weights.

python tools/publish.py GRID.yaml --to book/results/NAME.jsonl.xz [--runs-dir runs]

To a file NAME.csv only what the runs were asked and how many images of the grid's split they have right: a line a run.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from dqroute.core.checks import one_line
from dqroute.data import ImageSet, load
from dqroute.data.disk import write_atomically
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.published import publish
from dqroute.runs.run import TRADE_OFF, WORLDS, Run, default_runs_dir
from dqroute.runs.tables import sound, table
from dqroute.runs.worlds import worlds_of
from dqroute.sweep.grid import read_grid
from dqroute.sweep.worker import find
from dqroute.training.request import known_of
from dqroute.training.settings import Settings


@cache
def loaded(arguments: str) -> ImageSet:
    """The image set that a grid's entry, as JSON, asks for; all its runs share it."""
    return load(**{"seed": 0} | json.loads(arguments))


def finished_runs(grid: Path, runs_dir: Path, without: Sequence[str] = ()) -> list[Run]:
    """The runs of a grid that are finished and evaluated, with trade-off curves and other worlds unless left out.

    One whose files are damaged is passed over, with a warning.
    """
    runs = []
    for task in read_grid(grid):
        data = loaded(json.dumps(task.load))
        try:
            run = find(task, known_of(data), runs_dir)
            if run is not None and TRADE_OFF.format(split=task.split) not in without:
                trade_off_of(run, data, split=task.split)
            if run is not None and data.encoding is not None and WORLDS.format(split=task.split) not in without:
                worlds_of(run, data, split=task.split)
            runs += sound([] if run is None else [run], task.split)
        except (OSError, ValueError) as error:
            warnings.warn(f"passed over: {one_line(error)}", stacklevel=2)
    return runs


def asked_and_right(runs: list[Run], split: str) -> str:
    """Method, options, settings and seeds of runs, as far as they differ, and accuracies in %, as CSV."""
    found = table(runs, split).drop(columns=["minutes", "device", "clean", "finished", "folder"])
    reports = [run.report(split) for run in runs]
    # Overall, the way that every method can be helped out of fold; nothing where nobody judged it so.
    helped = [(report.calibrated or {}).get("overall") if report else None for report in reports]
    found.insert(list(found.columns).index("commit"), "calibrated", 100 * pd.Series(helped, dtype=float))
    told = [run.settings["training"] for run in runs]
    for name in sorted({name for settings in told for name in settings}):
        # What is as by default is not written down.
        if not all(name in settings for settings in told):
            found.insert(3, name, [settings.get(name, getattr(Settings(), name)) for settings in told])
    return found.to_csv(index=False, float_format="%.5g")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, metavar="GRID.yaml")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="runs that it has are replaced")
    parser.add_argument("--runs-dir", type=Path, default=default_runs_dir())
    parser.add_argument("--without", nargs="*", default=[], metavar="FILE", help="of each run folder, to be left out")
    chosen = parser.parse_args(arguments)
    try:
        tasks, as_table = read_grid(chosen.grid), chosen.to.suffix == ".csv"
        curves = [name.format(split=tasks[0].split) for name in (TRADE_OFF, WORLDS)]
        runs = finished_runs(chosen.grid, chosen.runs_dir, curves if as_table else chosen.without)
        # Nothing to publish leaves no file behind.
        published: Sequence[Run] = runs
        if as_table and runs:
            write_atomically(chosen.to, asked_and_right(runs, tasks[0].split).encode())
        elif runs:
            published = publish(runs, chosen.to, chosen.without)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(runs)} runs of {len(tasks)} are in {chosen.to}, among {len(published)}")


if __name__ == "__main__":
    main()
