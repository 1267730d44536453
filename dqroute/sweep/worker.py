"""What a worker of a sweep does: find a run that is there already, or have the benchmark notebook make it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

from distributed import get_worker
from papermill import PapermillExecutionError

from dqroute.data import ImageSet
from dqroute.runs.run import Run, folder_of
from dqroute.sweep.grid import Task
from dqroute.sweep.notebook import execute
from dqroute.training.fit import request_of

TOPIC = "dqroute-sweep"


class Known(NamedTuple):
    """What of an image set enters the digest of a run: the images themselves stay where they were loaded."""

    name: str
    identity: dict[str, Any]
    augmentation: dict[str, Any]


def known_of(data: ImageSet) -> Known:
    """What tells the runs on an image set."""
    return Known(data.name, data.identity, vars(data.augmentation).copy())


def find(task: Task, known: Known, runs_dir: Path) -> Run | None:
    """The task's run, if it is finished and evaluated."""
    changes = {name: value for name, value in task.fit.items() if name != "preset"}
    asked = {"seed": task.seed, "preset": task.fit.get("preset", "laptop"), "changes": changes, "device": "auto"}
    request, _ = request_of(task.method, known.identity, known.augmentation, **asked)
    folder = folder_of(runs_dir, request, known.name)
    run = Run(folder) if (folder / "settings.json").is_file() else None
    return run if run and run.finished and run.report(task.split) else None


def carry_out(task: Task, known: Known | None, notebook: Path, output: Path, runs_dir: Path) -> tuple[Path, bool]:
    """Find the task's run or make it.

    Args:
        known: the task's data set; None if it could not be loaded, as the notebook will then say.
        notebook: the benchmark notebook; output: where the executed one goes, written cell by cell.

    Returns:
        The run folder, and whether it was there before.

    Raises:
        RuntimeError: if a cell of the notebook raises, or its run is not where it belongs.
    """
    if known and (run := find(task, known, runs_dir)):
        return run.folder, True
    get_worker().log_event(TOPIC, (task.name, f"process {os.getpid()} on {platform.node()}"))
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        execute(notebook, output, task.parameters | {"runs_dir": str(runs_dir)})
    except PapermillExecutionError as error:
        raise RuntimeError(f"{error.ename}: {error.evalue}") from None
    if not (run := find(task, known, runs_dir) if known else None):
        raise RuntimeError(
            "the notebook ended well, but its run is not in its folder; did the images change meanwhile?"
        )
    return run.folder, False
