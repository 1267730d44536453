"""Many runs: a grid of papermill runs of the benchmark notebook on a Dask cluster, and one table of them all.

A run already done is found; an interrupted one goes on from where it was last saved; a worker that dies is replaced,
and its run given to another; a run that fails lets the others go on.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import psutil  # type: ignore[import-untyped]
import torch
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, as_completed

from dqroute.core.checks import one_line
from dqroute.data import load
from dqroute.runs import tables
from dqroute.runs.evaluate import evaluate
from dqroute.runs.run import Run, default_runs_dir
from dqroute.sweep.grid import Task, read_grid
from dqroute.sweep.notebook import NOTEBOOK, QUIET, end_kernels
from dqroute.sweep.worker import TOPIC, carry_out
from dqroute.training.fit import fit
from dqroute.training.request import Known, known_of

# A task goes to a worker that is free, not before: another may be free earlier. A killed worker starts anew; on a busy
# machine that takes longer than Dask's 15 s, after which the new one would be closed with a run in its hands.
LOCAL = {"distributed.scheduler.worker-saturation": 1.0, "distributed.deploy.lost-worker-timeout": "1h"}


@dataclass(frozen=True)
class Failure:
    """A run that failed: its error in one line, its notebook up to there, if any, and what runs it again alone."""

    task: Task
    error: str
    notebook: Path | None
    command: str

    def __str__(self) -> str:
        return f"{self.task}\n  {self.error}\n  notebook: {self.notebook or 'none'}\n  again: {self.command}"


@dataclass(frozen=True)
class Sweep:
    """What came of a grid: runs by data set and row, in the grid's order, failures, and the split of the tables."""

    runs: dict[str, dict[str, list[Run]]]
    failures: list[Failure] = field(default_factory=list)
    split: str = "test"

    def summary(self) -> pd.DataFrame:
        """Accuracy in %, mean over seeds ± half the 95 % interval; a row for each data set, method and setting."""
        return stacked({name: tables.summary(rows, self.split) for name, rows in self.runs.items()})

    def differences(self) -> pd.DataFrame:
        """Each row less the data set's first, paired by seed, in points; empty where there is only one row."""
        less = tables.paired_differences
        return stacked({name: less(rows, next(iter(rows)), self.split) for name, rows in self.runs.items()})

    def __str__(self) -> str:
        parts = []
        if self.runs:
            parts.append(f"accuracy on {self.split} images, %\n{self.summary().to_string()}")
            if len(differences := self.differences()):
                parts.append(f"differences, paired by seed, in points\n{differences.to_string()}")
            groups = {name: next(iter(rows.values()))[0].groups for name, rows in self.runs.items()}
            parts.append("\n".join(f"{name}: {group.description}" for name, group in groups.items()))
        if self.failures:
            parts.append("\n".join(map(str, [f"{len(self.failures)} failed", *self.failures])))
        return "\n\n".join(parts)


def stacked(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables that have rows, one below the other."""
    parts = {name: part for name, part in parts.items() if len(part)}
    return pd.concat(parts).fillna("–").rename_axis(columns=None) if parts else pd.DataFrame()


def sweep(
    grid: str | os.PathLike[str],
    *,
    scheduler: Any = None,
    workers: int | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    notebook: str | os.PathLike[str] = NOTEBOOK,
    here: bool = False,
) -> Sweep:
    """Run a grid and print a line for each thing that happens.

    Args:
        grid: the YAML file, see :mod:`dqroute.sweep.grid`; errors as :func:`dqroute.sweep.grid.read_grid`.
        scheduler: address of a Dask scheduler, or a Dask cluster object, whose workers see this machine's folders
            under the same paths; None starts worker processes on this machine, which no other user can reach.
        workers: how many of those, from 1; None takes one a processor core, or one in all where there is a GPU.
        runs_dir: where run folders and ``notebooks``, the executed ones, go; by default ``$DQROUTE_RUNS``, or ``runs``.
        here: train in this process, one run after the other and without notebooks: where a run takes seconds, as on
            features, a notebook would take longer.
    """
    tasks = read_grid(grid)
    where = Path(runs_dir or default_runs_dir()).expanduser().resolve()
    if here:
        return gathered(tasks, carried_out_here(tasks, where))
    template = Path(notebook).expanduser().resolve()
    if not template.is_file():
        raise FileNotFoundError(f"there is no notebook {notebook}; run this from the repository's root")
    with connected(scheduler, workers) as client:
        print(f"{len(tasks)} runs on {len(client.nthreads())} workers", flush=True)
        if find_spec("bokeh"):
            print(f"watch them at {client.dashboard_link}", flush=True)
        return gathered(tasks, carried_out(client, tasks, template, where))


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
    numbers = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = QUIET | dict.fromkeys(numbers, str(max(1, CPU_COUNT // workers)))
    cluster: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "security": True,  # a scheduler runs what it is sent: its own certificates keep the machine's other users out
        "memory_limit": None,  # the training runs in a kernel beside the worker, where Dask does not see its memory
        "silence_logs": logging.CRITICAL,  # what fails is told in the sweep's own lines
        "dashboard_address": "127.0.0.1:0",
        "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for us to answer
        "env": {name: os.environ.get(name, value) for name, value in variables.items()},
    }
    with dask.config.set(LOCAL), LocalCluster(**cluster) as local, Client(local) as client:
        try:
            yield client
        except KeyboardInterrupt:
            # Seconds for the longest steps: their workers end them when they have saved.
            psutil.wait_procs(end_kernels(), timeout=60)
            raise


def carried_out(client: Client, tasks: Sequence[Task], notebook: Path, runs_dir: Path) -> dict[str, Run | Failure]:
    """What came of each task, by its name; a line tells each thing that happens."""
    by_name, started, done = {task.name: task for task in tasks}, set[str](), dict[str, Run | Failure]()

    def say(what: str, task: Task, more: object) -> None:
        print(f"[{len(done)}/{len(tasks)}] {what:6} {task}: {more}", flush=True)

    def note_start(event: tuple[float, tuple[str, str]]) -> None:
        """The scheduler passes on what a worker logged: a second time where the worker of the first has died."""
        _, (name, where) = event
        if name in by_name:
            say("again" if name in started else "start", by_name[name], where)
            started.add(name)

    client.subscribe_topic(TOPIC, note_start)
    # One set after the other, before anything trains: two workers must not download into one folder.
    draws = {json.dumps(task.load, sort_keys=True): task for task in tasks}
    known = {draw: know(task.data, task.load) for draw, task in draws.items()}
    futures = {}
    for task in tasks:
        output = runs_dir / "notebooks" / f"{task.name}.ipynb"
        given = (task, known[json.dumps(task.load, sort_keys=True)], notebook, output, runs_dir)
        futures[client.submit(carry_out, *given, key=("run", task.name))] = task, output
    for future in as_completed(futures):
        task, output = futures[future]
        try:
            folder, found = future.result()
            run = done[task.name] = Run(folder)
            say("found" if found else "done", task, f"{run.seconds:.0f} s of training")
        except Exception as error:
            there, again = output if output.is_file() else None, command(task, notebook, output, runs_dir)
            failure = done[task.name] = Failure(task, one_line(error) or repr(error), there, again)
            say("failed", task, failure.error)
    return done


def carried_out_here(tasks: Sequence[Task], runs_dir: Path) -> dict[str, Run | Failure]:
    """The same in this process, without notebooks."""
    done, data, loaded = dict[str, Run | Failure](), None, None
    # One set after the other, so that each is loaded once.
    for task in sorted(tasks, key=lambda task: json.dumps(task.load, sort_keys=True)):
        try:
            if task.load != loaded:
                data, loaded = load(**{"seed": 0} | task.load), task.load
            assert data is not None
            run = fit(task.method, data, seed=task.seed, runs_dir=runs_dir, progress=False, **task.fit)
            evaluate(run, split=task.split)
            done[task.name], said = run, f"{run.seconds:.0f} s of training"
        except Exception as error:  # whatever it is, the others go on
            again = f"dq.fit({task.method!r}, dq.load(**{task.load}), seed={task.seed}, **{task.fit})"
            done[task.name], said = Failure(task, one_line(error) or repr(error), None, again), f"failed: {error}"
        print(f"[{len(done)}/{len(tasks)}] {task}: {said}", flush=True)
    return done


def know(name: str, load_arguments: dict[str, Any]) -> Known | None:
    """Load an image set as the notebook does, to tell its runs by; None if it cannot be loaded."""
    print(f"loading {name}", flush=True)
    # The notebook meets the same error, and keeps it where it can be read.
    with suppress(Exception):
        return known_of(load(**{"seed": 0} | load_arguments))
    return None


def command(task: Task, notebook: Path, output: Path, runs_dir: Path) -> str:
    """The shell command that runs a task alone."""
    # None and {} are the notebook's own values for all but the imbalance.
    given = {name: v for name, v in task.parameters.items() if v not in (None, {}) or name == "imbalance"}
    words = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items()]
    where = [f"runs_dir={runs_dir}", "--notebook", str(notebook), "--output", str(output)]
    return shlex.join(["python", "-m", "dqroute.sweep.notebook", *words, *where])


def gathered(tasks: Sequence[Task], done: dict[str, Run | Failure]) -> Sweep:
    """Runs and failures in the order of the grid, row by row."""
    rows = list(dict.fromkeys((task.data, task.row) for task in tasks))
    runs, failures = dict[str, dict[str, list[Run]]](), list[Failure]()
    for task in sorted(tasks, key=lambda task: rows.index((task.data, task.row))):
        result = done[task.name]
        if isinstance(result, Failure):
            failures.append(result)
        else:
            runs.setdefault(task.data, {}).setdefault(task.row, []).append(result)
    return Sweep(runs, failures, tasks[0].split)
