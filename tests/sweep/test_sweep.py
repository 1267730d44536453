"""A grid as a user runs it: real worker processes, one of them killed; what fails is told, the rest goes on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

from dqroute.runs.run import find_runs
from dqroute.sweep import sweep as sweep_module
from dqroute.sweep.__main__ import main
from dqroute.sweep.grid import parse_grid
from dqroute.sweep.notebook import parse_parameter
from dqroute.sweep.sweep import Failure, Sweep, command, connected, gathered, know, sweep

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def done(trained):
    """Two rows of two seeds, as after a sweep: of the rows' names none is a method's."""
    rows = {"A, epochs=2": [run for run in trained if run.method == "cross-entropy"]}
    return Sweep({"tiny": rows | {"B": [run for run in trained if run.method == "dqroute"]}})


def test_the_table_has_a_row_for_each_method_and_setting_and_each_run_once(done):
    summary = done.summary()
    assert list(summary.index) == [("tiny", "A, epochs=2"), ("tiny", "B")]
    assert summary["seeds"].tolist() == [2, 2]
    assert list(done.differences().index) == [("tiny", "B − A, epochs=2")]
    for expected in ("accuracy on test images", "paired by seed", "tiny: 4 many", "(2 seeds)"):
        assert expected in str(done)
    assert "failed" not in str(done)


def test_a_row_alone_has_no_difference_and_a_set_without_runs_no_row(done):
    alone = Sweep({"tiny": {"A": done.runs["tiny"]["A, epochs=2"]}})
    assert alone.differences().empty and "paired" not in str(alone)
    assert Sweep({}).summary().empty


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
    words = shlex.split(command(task, tmp_path / "b.ipynb", tmp_path / "out.ipynb", tmp_path / "runs"))
    assert words[:3] == ["python", "-m", "dqroute.sweep.notebook"]
    given = dict(parse_parameter(word) for word in words[3 : words.index("--notebook")])
    assert given.pop("runs_dir") == str(tmp_path / "runs")
    # What is left out is the notebook's own value.
    assert {"root": None, "epochs": None, "preset": None} | given == task.parameters


def test_results_are_gathered_in_the_order_of_the_grid_row_by_row(trained):
    tasks = parse_grid("data: [digits, glyphs]\nmethods: [ride, sade]\nseeds: [0, 1]")
    done = {task.name: trained[0] for task in tasks}
    failed = [task for task in tasks if task.data == "glyphs" and (task.row, task.seed) != ("sade", 1)]
    done |= {task.name: Failure(task, "no", None, "") for task in reversed(failed)}
    gathered_all = gathered(tasks, dict(reversed(done.items())))
    assert {data: {row: len(runs) for row, runs in rows.items()} for data, rows in gathered_all.runs.items()} == {
        "digits": {"ride": 2, "sade": 2},
        "glyphs": {"sade": 1},
    }
    assert [(failure.task.row, failure.task.seed) for failure in gathered_all.failures] == [
        ("ride", 0),
        ("ride", 1),
        ("sade", 0),
    ]


def test_a_set_that_cannot_be_loaded_is_left_to_the_notebook(tmp_path, capsys):
    assert know("nowhere", {"name": f"folder:{tmp_path / 'nowhere'}", "imbalance": None}) is None
    assert know("digits", {"name": "digits", "imbalance": 10}).name == "digits"
    assert capsys.readouterr().out == "loading nowhere\nloading digits\n"


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


def test_what_is_no_grid_is_told_in_one_line_before_torch_is_loaded(tmp_path):
    grids = {
        "aliases": "a0: &a0 [x, x, x]\na1: [*a0, *a0]\n",
        "overflow": "data: [digits]\nmethods: [dqroute]\nsettings: [{epochs: .inf}]\n",
        "key": "data: [digits]\n? {methods: 1}\n: [dqroute]\nseeds: [0]\n",
        "large": "data: [digits]\n" * 10_000,
        "latin": b"data: [\xe9]",
    }
    for name, grid in grids.items():
        (tmp_path / f"{name}.yaml").write_bytes(grid if isinstance(grid, bytes) else grid.encode())
    code = """if True:
        import sys
        from dqroute.sweep.__main__ import main
        for grid in sys.argv[1:]:
            try:
                main([grid])
            except SystemExit as stopped:
                print(stopped.code, "torch" in sys.modules)
    """
    words = [sys.executable, "-c", code, *(str(tmp_path / f"{name}.yaml") for name in grids)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.split("\n") == ["2 False"] * len(grids) + [""]
    lines = ended.stderr.splitlines()
    assert len(lines) == len(grids)
    for line, name in zip(lines, grids, strict=True):
        assert line.startswith(f"python -m dqroute.sweep: {tmp_path / name}.yaml: ")


@pytest.mark.slow
def test_a_local_scheduler_lets_in_nobody_without_its_certificate():
    with connected(None, 1) as client:
        host, port = client.scheduler.address.removeprefix("tls://").split(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stranger = context.wrap_socket(socket.create_connection((host, int(port))))
        with stranger, pytest.raises(ssl.SSLError, match="certificate required"):
            stranger.recv(1)
        assert client.submit(os.getenv, "OMP_WAIT_POLICY").result() == "passive"


STRANGER = """if True:
    import sys
    from distributed import Client, Security
    secured = Security.temporary() if sys.argv[2] == "own" else None
    address = sys.argv[1] if secured else sys.argv[1].replace("tls:", "tcp:")
    try:
        with Client(address, security=secured, timeout="5s") as client:
            client.submit(open, sys.argv[3], "w").result(timeout=5)
    except Exception as error:
        print("kept out")
"""


@pytest.mark.slow
@pytest.mark.parametrize("certificate", ["own", "none"])
def test_another_process_runs_nothing_on_a_local_scheduler(tmp_path, certificate):
    """What another user of the machine would do: connect by Dask itself, with or without a certificate of one's own."""
    mark = tmp_path / "ran"
    with connected(None, 1) as client:
        words = [sys.executable, "-c", STRANGER, client.scheduler.address, certificate, str(mark)]
        ended = subprocess.run(words, capture_output=True, text=True)
        assert ended.stdout == "kept out\n" and not mark.exists()
        # The sweep's own client goes on, and is heard.
        client.submit(open, str(mark), "w").exception()
        assert mark.exists()


@pytest.fixture
def begin(tmp_path):
    """``python -m dqroute.sweep`` from the repository's root, with two worker processes; yields what it prints."""
    begun = []

    def start(grid):
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
        command = [sys.executable, "-m", "dqroute.sweep", str(tmp_path / "grid.yaml"), "--workers", "2"]
        process = subprocess.Popen(
            [*command, "--runs-dir", str(tmp_path / "runs")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def told(output):
    """The first words of the lines, counted."""
    return Counter(line.split()[1] for line in output.splitlines() if line.startswith("["))


@pytest.mark.posix
@pytest.mark.slow
def test_a_grid_ends_well_in_spite_of_a_killed_worker_and_of_runs_that_fail(begin, tmp_path, capsys):
    """A worker is killed that has a run: it goes on elsewhere. Another run fails, as its image set is not there."""
    runs_dir, digits = tmp_path / "runs", {"digits": {"imbalance": 5, "n_max": 20}}
    sound = {"data": [digits], "methods": ["cross-entropy"], "settings": [{"epochs": 1}]}
    process, output = begin(sound | {"data": [digits, f"folder:{tmp_path / 'nowhere'}"]}), ""
    for line in process.stdout:
        output += line
        if "start  digits, imbalance=5, n_max=20 · cross-entropy · seed 0: process " in line and "again" not in output:
            os.kill(int(line.split("process ")[1].split()[0]), signal.SIGKILL)
    assert process.wait() == 1
    assert told(output) == {"start": 2, "again": 1, "done": 1, "failed": 1}
    (run,) = find_runs(runs_dir)
    assert len(run.epochs) == 1 and run.report()
    table, failures = output.split("accuracy on test images")[1].split("\n1 failed\n")
    (row,) = [line for line in table.splitlines() if "cross-entropy " in line]
    assert row.split()[-2] == "1", "one seed, once"
    assert "nowhere · cross-entropy · seed 0\n  FileNotFoundError: there is no folder" in failures
    (notebook,) = re.findall(r"notebook: (.+)", failures)
    cells = nbformat.read(notebook, as_version=4).cells
    assert any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))

    # Once more, without what cannot work: the run is found, nothing is written, and the table is the same.
    before = {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")}
    (tmp_path / "sound.yaml").write_text(yaml.safe_dump(sound), encoding="utf-8")
    notebook = ROOT / "book" / "benchmark.ipynb"
    done = sweep(tmp_path / "sound.yaml", workers=1, runs_dir=runs_dir, notebook=notebook)
    assert told(capsys.readouterr().out) == {"found": 1}
    assert str(done).split("accuracy on test images")[1].strip() == table.strip()
    assert {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*")} == before


def test_a_grid_of_features_runs_in_this_process(tmp_path, capsys):
    grid = tmp_path / "grid.yaml"
    lines = ["data: [digits: {imbalance: 10, backbone: gradient-histograms}]", "methods: [logit-adjustment, sade]"]
    grid.write_text("\n".join([*lines, "seeds: [0, 1]", "settings: [{epochs: 2}]", "draws: seed"]))
    done = sweep(grid, runs_dir=tmp_path / "runs", here=True)
    ((name, rows),) = done.runs.items()
    assert list(rows) == ["logit-adjustment", "sade"] and not done.failures
    assert [run.settings["data"]["seed"] for run in rows["sade"]] == [0, 1]
    assert "[4/4]" in capsys.readouterr().out
    # Asked for again they are found.
    again = sweep(grid, runs_dir=tmp_path / "runs", here=True)
    assert [run.folder for run in again.runs[name]["sade"]] == [run.folder for run in rows["sade"]]


def test_what_fails_in_this_process_lets_the_others_go_on(tmp_path, monkeypatch):
    grid = tmp_path / "grid.yaml"
    grid.write_text("data: [digits: {backbone: gradient-histograms}]\nmethods: [ride, sade]\nsettings: [{epochs: 1}]")
    fit = sweep_module.fit

    def failing(method, *arguments, **more):
        if method == "ride":
            raise RuntimeError("no such thing")
        return fit(method, *arguments, **more)

    monkeypatch.setattr(sweep_module, "fit", failing)
    done = sweep(grid, runs_dir=tmp_path / "runs", here=True)
    assert [failure.error for failure in done.failures] == ["no such thing"]
    assert [list(rows) for rows in done.runs.values()] == [["sade"]]
