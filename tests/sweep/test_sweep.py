"""A grid as a user runs it: real worker processes, one of them killed; what fails is told, the rest goes on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

from dqroute.runs.run import find_runs
from dqroute.sweep.grid import parse_grid
from dqroute.sweep.notebook import parse_parameter
from dqroute.sweep.sweep import Failure, RowRun, Sweep, Sweeping, as_written, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def done(trained):
    """Two rows of two seeds, as after a sweep."""
    ordered = sorted(trained, key=lambda run: run.method)
    return Sweep({"tiny": [RowRun(run.folder, f"{run.method}, epochs=2") for run in ordered]}, [])


def test_the_table_has_a_row_for_each_method_and_setting_and_each_run_once(done):
    summary = done.summary()
    assert list(summary.index) == [("tiny", "cross-entropy, epochs=2"), ("tiny", "dqroute, epochs=2")]
    assert summary["seeds"].tolist() == [2, 2]
    assert list(done.differences().index) == [("tiny", "dqroute, epochs=2 − cross-entropy, epochs=2")]
    for expected in ("accuracy on test images", "paired by seed", "tiny: 4 many", "±"):
        assert expected in str(done)
    assert "failed" not in str(done)


def test_a_row_alone_has_no_difference_and_a_set_without_runs_no_row(done):
    alone = Sweep({"tiny": done.runs["tiny"][:2]}, [])
    assert alone.differences().empty and "paired" not in str(alone)
    assert Sweep({}, []).summary().empty


def test_failures_are_told_with_notebook_and_command(tmp_path):
    (task,) = parse_grid("data: [digits]\nmethods: [ride]")
    failure = Failure(task, "ValueError: no", tmp_path / "a.ipynb", "python -m dqroute.sweep.notebook x=1")
    text = str(Sweep({}, [failure]))
    for expected in ("1 failed", "digits · ride · seed 0", "ValueError: no", "a.ipynb", "dqroute.sweep.notebook x=1"):
        assert expected in text


def test_the_printed_command_asks_for_the_same_run(tmp_path):
    (task,) = parse_grid(
        """
        data: ["folder:O'Neill's 12, ü": {imbalance: 10, size: 32}]
        methods: [dqroute: {alpha: 0.3}]
        seeds: [7]
        settings: [{lr: 1e-7}]
        """
    )
    words = shlex.split(Sweeping(None, [task], tmp_path / "b.ipynb", tmp_path / "runs").command(task))
    assert words[:3] == ["python", "-m", "dqroute.sweep.notebook"]
    given = dict(parse_parameter(word) for word in words[3 : words.index("--notebook")])
    assert given.pop("runs_dir") == str(tmp_path / "runs")
    # What is left out is the notebook's own value.
    assert {"root": None, "epochs": None} | given == task.parameters


@pytest.mark.parametrize(
    "value", ["digits", "null", "3", "a b", "", "[0]", "true", [0, 1], {"a": 1e-9}, None, 2.5, True]
)
def test_a_value_is_written_as_it_is_read(value):
    assert parse_parameter(f"x={as_written(value)}") == ("x", value)


@pytest.mark.parametrize(
    ("grid", "more", "message"),
    [
        ("data: [digits]\nmethods: [rid]", (), "unknown method 'rid' (did you mean 'ride'?)"),
        ("data: [digits]\nmethods: [ride]", ("--workers", "0"), "at least 1 worker; got 0"),
        ("data: [digits]\nmethods: [ride]", ("--notebook", "none.ipynb"), "there is no notebook none.ipynb"),
        (None, (), "grid.yaml"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told_before_anything_starts(tmp_path, capsys, grid, more, message):
    if grid:
        (tmp_path / "grid.yaml").write_text(grid, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "grid.yaml"), "--runs-dir", str(tmp_path / "runs"), *more])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def sweep(tmp_path):
    """``python -m dqroute.sweep`` from the repository's root, with two worker processes."""
    begun = []

    def begin(grid):
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
        command = [sys.executable, "-m", "dqroute.sweep.sweep", str(tmp_path / "grid.yaml"), "--workers", "2"]
        printed = tmp_path / f"printed-{len(begun)}.txt"
        with printed.open("w") as out:
            process = subprocess.Popen(
                [*command, "--runs-dir", str(tmp_path / "runs")],
                stdout=out,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )
        begun.append(process)
        return process, printed

    yield begin
    for process in begun:
        process.kill()


def wait_until(happened, process):
    """What `happened` returns once it is something; the process must be running meanwhile."""
    until = time.monotonic() + 900
    while not (result := happened()):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    return result


def kill_in_training(process, printed, runs_dir):
    """Kill the worker of the run that started first, once an epoch is behind it; returns its method."""
    start = r"start +digits · ([\w-]+) · seed 0: process (\d+) on "
    method, number = wait_until(lambda: re.search(start, printed.read_text()), process).groups()
    wait_until(lambda: list(runs_dir.glob(f"digits/{method}-*/checkpoint.safetensors")), process)
    worker = psutil.Process(int(number))
    kernels = [child for child in worker.children() if "ipykernel_launcher" in " ".join(child.cmdline())]
    worker.send_signal(signal.SIGKILL)
    # A kernel without its worker must not go on beside the one that takes its run up.
    gone, alive = psutil.wait_procs(kernels, timeout=30)
    assert len(gone) == 1 and not alive
    return method


def told(output):
    """The first words of the lines, counted."""
    return Counter(line.split()[1] for line in output.splitlines() if line.startswith("["))


@pytest.mark.posix
@pytest.mark.slow
def test_a_grid_ends_well_in_spite_of_a_killed_worker_and_of_runs_that_fail(sweep, tmp_path):
    """A worker is killed in training: its run goes on elsewhere. Two runs fail, as their image set is not there."""
    runs_dir, methods = tmp_path / "runs", ["cross-entropy", "logit-adjustment"]
    sound = {"data": ["digits"], "methods": methods, "settings": [{"epochs": 6}]}
    process, printed = sweep(sound | {"data": ["digits", f"folder:{tmp_path / 'nowhere'}"]})
    killed = kill_in_training(process, printed, runs_dir)
    assert process.wait(timeout=1200) == 1
    output = printed.read_text()
    assert told(output) == {"start": 4, "again": 1, "done": 2, "failed": 2}
    runs = find_runs(runs_dir)
    assert [run.method for run in runs] == methods
    assert {run.method for run in runs if run.provenance.get("resumed")} == {killed}
    assert all(len(run.epochs) == 6 and run.report() for run in runs)
    table, failures = output.split("accuracy on test images")[1].split("\n2 failed\n")
    for method in methods:
        (row,) = [line for line in table.splitlines() if f"{method}  " in line and "−" not in line]
        assert row.split()[-2] == "1", "one seed, once"
        assert f"nowhere · {method} · seed 0\n  FileNotFoundError: there is no folder" in failures
    notebooks = re.findall(r"notebook: (.+)", failures)
    assert len(set(notebooks)) == 2
    for notebook in notebooks:
        cells = nbformat.read(notebook, as_version=4).cells
        assert any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))

    # Once more, without what cannot work: both runs are found, nothing is written, and the table is the same.
    before = {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")}
    process, printed = sweep(sound)
    assert process.wait(timeout=1200) == 0
    output = printed.read_text()
    assert told(output) == {"found": 2}
    assert output.split("accuracy on test images")[1].strip() == table.strip()
    assert {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")} == before
