"""Copy the runs of a grid to book/results: settings, provenance, epochs, reports and trade-offs, no weights.

python tools/publish.py GRID.yaml [--runs-dir runs] [--to book/results]
"""

from __future__ import annotations

import argparse
import json
import shutil
from functools import cache
from pathlib import Path

from dqroute.data import ImageSet, load
from dqroute.runs.curves import trade_off_of
from dqroute.runs.run import default_runs_dir
from dqroute.sweep.grid import read_grid
from dqroute.sweep.worker import find, known_of

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results"
PUBLISHED = ("settings.json", "provenance.json", "epochs.jsonl", "report-*.json", "tradeoff-*.json", "outsiders-*.json")


@cache
def loaded(arguments: str) -> ImageSet:
    """The image set that a grid's entry, as JSON, asks for; all its runs share it."""
    return load(seed=0, **json.loads(arguments))


def publish(grid: Path, runs_dir: Path, target: Path) -> list[Path]:
    """Work out the trade-off of each finished run, for which its weights and images are needed, and copy the rest.

    Args:
        grid: which runs; one that is not finished and evaluated is left out.
        runs_dir: where they lie.
        target: takes a folder a run, below one a data set; a run of the same name there is replaced.

    Returns:
        The new folders.
    """
    folders = []
    for task in read_grid(grid):
        data = loaded(json.dumps(task.load))
        run = find(task, known_of(data), runs_dir)
        if run is None:
            continue
        trade_off_of(run, data, split=task.split)
        folders.append(copy_run(run.folder, target / run.folder.parent.relative_to(runs_dir)))
    return folders


def copy_run(run: Path, target: Path) -> Path:
    """Copy what is published of a run folder into a folder of the same name below the target; an older one goes.

    Raises:
        ValueError: if the target is where the run itself lies, which would be replaced by a copy without weights.
    """
    folder, partial = target / run.name, target / f".{run.name}.partial"
    if folder.resolve() == run.resolve():
        raise ValueError(f"{target} is where the run itself lies; name another folder to copy to")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in (path for pattern in PUBLISHED for path in sorted(run.glob(pattern))):
        shutil.copyfile(path, partial / path.name)
    shutil.rmtree(folder, ignore_errors=True)
    return partial.rename(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", type=Path, metavar="GRID.yaml")
    parser.add_argument("--runs-dir", type=Path, default=default_runs_dir())
    parser.add_argument("--to", type=Path, default=RESULTS, metavar="FOLDER")
    chosen = parser.parse_args()
    try:
        published = publish(chosen.grid, chosen.runs_dir, chosen.to)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(published)} runs of {len(read_grid(chosen.grid))} are in {chosen.to}")
