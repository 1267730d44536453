"""What a worker of a sweep does: find a run that is there already, or have the benchmark notebook make it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from distributed import get_worker
from papermill import PapermillExecutionError

from dqroute.runs.run import SETTINGS, Run, folder_of
from dqroute.sweep.grid import Task
from dqroute.sweep.notebook import execute
from dqroute.training.request import Known, request_of

TOPIC = "dqroute-sweep"


def find(task: Task, known: Known, runs_dir: Path) -> Run | None:
    """The task's run, if it is finished and evaluated."""
    request, _ = request_of(task.method, known, task.fit, seed=task.seed, device="auto")
    folder = folder_of(runs_dir, request, known.name)
    run = Run(folder) if (folder / SETTINGS).is_file() else None
    return run if run and run.finished and run.report(task.split) else None


def carry_out(task: Task, known: Known | None, notebook: Path, output: Path, runs_dir: Path) -> tuple[Path, bool]:
    """The folder of the task's run, and True if it was there; else the notebook makes it, written to ``output``.

    Where the data set could not be loaded, ``known`` None, the notebook will say so. RuntimeError if one of its cells
    raises, or its run is not where it belongs.
    """
    if known and (run := find(task, known, runs_dir)):
        return run.folder, True
    get_worker().log_event(TOPIC, (task.name, f"process {os.getpid()} on {platform.node()}"))
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        execute(notebook, output, task.parameters | {"runs_dir": str(runs_dir)})
    except PapermillExecutionError as error:
        raise RuntimeError(f"{error.ename}: {error.evalue}") from None
    if not (known and (run := find(task, known, runs_dir))):
        raise RuntimeError("the notebook ended well, but its run is not in its folder; did the images change?")
    return run.folder, False
