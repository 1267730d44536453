"""What a worker of a sweep does: find a run that is there already, or have the benchmark notebook make it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import papermill
from distributed import get_worker

from dqroute.data import ImageSet, load
from dqroute.runs.run import Run, folder_of
from dqroute.sweep.grid import Task
from dqroute.training.fit import divide_changes, request_of

TOPIC = "dqroute-sweep"
# A warning from every kernel would drown the sweep's own lines.
QUIET = ["--IPKernelApp.log_level=ERROR"]
# Seconds for a kernel to answer; many that start at once on a shared disk take their time.
PATIENCE = 300


class RunFailed(RuntimeError):
    """An executed notebook ended in an error; the message is the error's kind and text."""


class Known(NamedTuple):
    """What of an image set enters the digest of a run: the images themselves stay where they were loaded."""

    name: str
    identity: dict[str, Any]
    augmentation: dict[str, Any]


def know(load_arguments: dict[str, Any]) -> Known | None:
    """Load an image set as the notebook does, to tell its runs by; None if it cannot be loaded."""
    try:
        data = load(seed=0, **load_arguments)
    except Exception:
        # The notebook meets the same error, and keeps it where it can be read.
        return None
    return known_of(data)


def known_of(data: ImageSet) -> Known:
    """What tells the runs on an image set."""
    return Known(data.name, data.identity, vars(data.augmentation).copy())


def find(task: Task, known: Known, runs_dir: Path) -> Run | None:
    """The task's run, if it is finished and evaluated."""
    changes = {name: value for name, value in task.fit.items() if name != "preset"}
    settings, options = divide_changes(task.method, task.fit.get("preset", "laptop"), changes)
    request = request_of(task.method, settings, options, task.seed, known.identity, known.augmentation)
    folder = folder_of(runs_dir, request, known.name)
    if not (folder / "settings.json").is_file():
        return None
    run = Run(folder)
    return run if run.finished and run.report(task.split) else None


def carry_out(task: Task, known: Known | None, notebook: Path, output: Path, runs_dir: Path) -> tuple[Path, bool]:
    """Find the task's run or make it.

    Args:
        known: the task's data set; None if it could not be loaded.
        notebook: the benchmark notebook; output: where the executed one goes, written cell by cell.

    Returns:
        The run folder, and whether it was there before.

    Raises:
        RunFailed: if a cell of the notebook raises.
    """
    if known and (run := find(task, known, runs_dir)):
        return run.folder, True
    get_worker().log_event(TOPIC, (task.name, f"process {os.getpid()} on {platform.node()}"))
    output.parent.mkdir(parents=True, exist_ok=True)
    parameters = task.parameters | {"runs_dir": str(runs_dir)}
    try:
        papermill.execute_notebook(
            notebook, output, parameters, progress_bar=False, start_timeout=PATIENCE, extra_arguments=QUIET
        )
    except papermill.PapermillExecutionError as error:
        raise RunFailed(f"{error.ename}: {error.evalue}") from None
    known = known or know(task.load)
    run = find(task, known, runs_dir) if known else None
    if run is None:
        raise RunFailed("the notebook ended well, but its run is not in its folder; did the images change meanwhile?")
    return run.folder, False
