"""Many runs: a grid of papermill runs of the benchmark notebook on a Dask cluster, and one table of them all.

``python -m dqroute.sweep GRID.yaml`` runs the grid of :mod:`dqroute.sweep.grid` here; ``--scheduler ADDRESS`` on a
cluster whose workers see the same folders. A run already done is found; an interrupted one goes on from where
it was last saved; a worker that dies is replaced, and its run given to another; a run that fails lets the others go on.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import torch
from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, as_completed, wait

from dqroute.core.checks import one_line
from dqroute.runs import tables
from dqroute.runs.run import Run, default_runs_dir
from dqroute.sweep.grid import Task, read_grid
from dqroute.sweep.notebook import NOTEBOOK, parse_parameter
from dqroute.sweep.worker import TOPIC, Known, RunFailed, carry_out, know

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LOCAL = {
    # A task goes to a worker when the worker is free, not before: another may be free earlier.
    "distributed.scheduler.worker-saturation": 1.0,
    # A killed worker starts anew. On a busy machine that takes longer than Dask's 15 s, after which the new one would
    # be closed with a run in its hands, and never replaced.
    "distributed.deploy.lost-worker-timeout": "1h",
}


class RowRun(Run):
    """A run under the name of its row in the table, where two rows may be one method with different options."""

    def __init__(self, folder: Path, row: str) -> None:
        super().__init__(folder)
        self.row = row

    @property
    def method(self) -> str:
        """The row's name."""
        return self.row


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        task: which one; error: one line.
        notebook: as far as it was executed, the error in it; None if it did not get to run at all.
        command: what runs it again alone.
    """

    task: Task
    error: str
    notebook: Path | None
    command: str

    def __str__(self) -> str:
        return f"{self.task}\n  {self.error}\n  notebook: {self.notebook or 'none'}\n  again: {self.command}"


@dataclass(frozen=True)
class Sweep:
    """What came of a grid.

    Attributes:
        runs: by data set, in the order of the grid; every run that was made or found, once.
        failures: the others.
        split: which images the tables are about.
    """

    runs: dict[str, list[RowRun]]
    failures: list[Failure]
    split: str = "test"

    def summary(self) -> pd.DataFrame:
        """Accuracy in %, mean over seeds ± half the 95 % interval; a row for each data set, method and setting."""
        return self.table(lambda runs: tables.summary(runs, self.split))

    def differences(self) -> pd.DataFrame:
        """Each row less the data set's first, paired by seed, in points; empty where there is only one row."""
        return self.table(lambda runs: tables.paired_differences(runs, runs[0].row, self.split))

    def table(self, of: Callable[[list[RowRun]], pd.DataFrame]) -> pd.DataFrame:
        """The tables of the data sets, one below the other."""
        parts = {name: of(runs) for name, runs in self.runs.items()}
        parts = {name: part for name, part in parts.items() if len(part)}
        return pd.concat(parts).fillna("–").rename_axis(columns=None) if parts else pd.DataFrame()

    def __str__(self) -> str:
        groups = [f"{name}: {runs[0].groups.description}" for name, runs in self.runs.items()]
        parts = [f"accuracy on {self.split} images, %\n{self.summary().to_string()}", "\n".join(groups)]
        if len(differences := self.differences()):
            parts.insert(1, f"differences, paired by seed, in points\n{differences.to_string()}")
        failed = "\n".join(map(str, [f"{len(self.failures)} failed", *self.failures]))
        return "\n\n".join((parts if self.runs else []) + [failed] * bool(self.failures))


def sweep(
    grid: str | os.PathLike[str],
    *,
    scheduler: Any = None,
    workers: int | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    notebook: str | os.PathLike[str] = NOTEBOOK,
) -> Sweep:
    """Run a grid and print a line for each thing that happens.

    Args:
        grid: the YAML file, see :mod:`dqroute.sweep.grid`.
        scheduler: address of a Dask scheduler, or a Dask cluster object, whose workers see this machine's folders
            under the same paths; None starts worker processes on this machine.
        workers: how many of those, from 1; None takes one a processor core, or one in all where there is a GPU.
        runs_dir: where run folders go, and the executed notebooks, in ``notebooks``; by default ``$DQROUTE_RUNS``, or
            ``runs``.
        notebook: the benchmark notebook.

    Raises:
        OSError, ValueError: if the grid cannot be read, see :func:`dqroute.sweep.grid.read_grid`.
    """
    tasks = read_grid(grid)
    where = Path(runs_dir or default_runs_dir()).expanduser().resolve()
    template = Path(notebook).expanduser().resolve()
    if not template.is_file():
        raise FileNotFoundError(f"there is no notebook {notebook}; run this from the repository's root")
    with connected(scheduler, workers) as client:
        print(f"{len(tasks)} runs on {len(client.nthreads())} workers", flush=True)
        if find_spec("bokeh"):
            print(f"watch them at {client.dashboard_link}", flush=True)
        return Sweeping(client, tasks, template, where).to_the_end()


@contextmanager
def connected(scheduler: Any, workers: int | None) -> Iterator[Client]:
    """A client of the scheduler, or of a cluster on this machine that ends with it."""
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    if workers is not None and workers < 1:
        raise ValueError(f"a sweep needs at least 1 worker; got {workers}")
    workers = workers or (1 if torch.cuda.is_available() else CPU_COUNT)
    cluster: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        # The training runs in a kernel beside the worker, where Dask does not see its memory.
        "memory_limit": None,
        # What fails is told in the sweep's own lines.
        "silence_logs": logging.CRITICAL,
        "dashboard_address": "127.0.0.1:0",
        "env": {name: os.environ.get(name, str(max(1, CPU_COUNT // workers))) for name in THREADS},
    }
    with dask.config.set(LOCAL), LocalCluster(**cluster) as local, Client(local) as client:
        yield client


class Sweeping:
    """A sweep on its way."""

    def __init__(self, client: Client, tasks: Sequence[Task], notebook: Path, runs_dir: Path) -> None:
        self.client, self.tasks, self.notebook, self.runs_dir = client, tasks, notebook, runs_dir
        self.by_name = {task.name: task for task in tasks}
        self.started: set[str] = set()
        self.ended = 0

    def to_the_end(self) -> Sweep:
        """Run all tasks, and gather what came of them."""
        self.client.subscribe_topic(TOPIC, self.note_start)
        known = {name: self.known(task) for name, task in {task.data: task for task in self.tasks}.items()}
        futures: dict[Future, Task] = {}
        for task in self.tasks:
            arguments = (task, known[task.data], self.notebook, self.output(task), self.runs_dir)
            futures[self.client.submit(carry_out, *arguments, key=("run", task.name))] = task
        runs: dict[str, RowRun] = {}
        failures: dict[str, Failure] = {}
        for future in as_completed(futures):
            task = futures[future]
            self.ended += 1
            try:
                folder, found = future.result()
                run = runs[task.name] = RowRun(folder, task.row)
                self.say("found" if found else "done", task, f": {run.seconds:.0f} s of training")
            except Exception as error:
                failure = failures[task.name] = self.failure(task, error)
                self.say("failed", task, f": {failure.error}")
        return self.gathered(runs, failures)

    def known(self, task: Task) -> Known | None:
        """What tells the runs on a task's data set; None if it could not be loaded.

        One set after the other, before anything trains: two workers must not download into one folder.
        """
        print(f"loading {task.data}", flush=True)
        future = self.client.submit(know, task.load, pure=False)
        wait(future)
        return future.result() if future.status == "finished" else None

    def note_start(self, event: tuple[float, tuple[str, str]]) -> None:
        """Tell that a run has started; the scheduler passes on what its worker logged."""
        _, (name, where) = event
        if name in self.by_name:
            # A second time: the worker of the first has died.
            self.say("again" if name in self.started else "start", self.by_name[name], f": {where}")
            self.started.add(name)

    def say(self, what: str, task: Task, more: str = "") -> None:
        """A line for what happened."""
        print(f"[{self.ended}/{len(self.tasks)}] {what:6} {task}{more}", flush=True)

    def output(self, task: Task) -> Path:
        """Where the task's executed notebook goes."""
        return self.runs_dir / "notebooks" / f"{task.name}.ipynb"

    def failure(self, task: Task, error: Exception) -> Failure:
        """What to tell of an error."""
        kind = "" if isinstance(error, RunFailed) else f"{type(error).__name__}: "
        output = self.output(task)
        there = output if output.is_file() else None
        return Failure(task, kind + one_line(error), there, self.command(task))

    def command(self, task: Task) -> str:
        """The shell command that runs a task alone."""
        given = task.parameters | {"runs_dir": str(self.runs_dir)}
        # None and {} are the notebook's own values for all the others.
        given = {name: v for name, v in given.items() if v not in (None, {}) or name == "imbalance"}
        words = [f"{name}={as_written(value)}" for name, value in given.items()]
        files = ["--notebook", str(self.notebook), "--output", str(self.output(task))]
        return shlex.join(["python", "-m", "dqroute.sweep.notebook", *words, *files])

    def gathered(self, runs: dict[str, RowRun], failures: dict[str, Failure]) -> Sweep:
        """Runs and failures in the order of the grid, row by row."""
        rows = list(dict.fromkeys(task.row for task in self.tasks))
        ordered = sorted(self.tasks, key=lambda task: rows.index(task.row))
        by_data: dict[str, list[RowRun]] = {}
        for data in dict.fromkeys(task.data for task in self.tasks):
            found = [runs[task.name] for task in ordered if task.data == data and task.name in runs]
            if found:
                by_data[data] = found
        failed = [failures[task.name] for task in ordered if task.name in failures]
        return Sweep(by_data, failed, self.tasks[0].split)


def as_written(value: Any) -> str:
    """A parameter's value as :mod:`dqroute.sweep.notebook` reads it."""
    plain = isinstance(value, str) and parse_parameter(f"x={value}")[1] == value
    return value if plain else json.dumps(value, ensure_ascii=False)


def main(arguments: list[str] | None = None) -> int:
    """Run a grid, print its table and what failed; 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m dqroute.sweep", description="Run a grid; see dqroute.sweep.grid.")
    parser.add_argument("grid", type=Path, metavar="GRID.yaml")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, such as tcp://10.0.0.1:8786")
    where.add_argument("--workers", type=int, metavar="N", help="processes on this machine")
    parser.add_argument("--runs-dir", type=Path, help="where run folders and executed notebooks go")
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    chosen = parser.parse_args(arguments)
    try:
        done = sweep(**vars(chosen))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"\n{done}")
    return 1 if done.failures else 0


if __name__ == "__main__":
    sys.exit(main())
