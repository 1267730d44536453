"""The main job as a user starts it: a process, a notebook, a table."""

import io
import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import nbformat
import psutil
import pytest

from dqroute.sweep.notebook import execute, main, parse_parameter, table_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("lr=0.1", ("lr", 0.1)),
        ("imbalance=null", ("imbalance", None)),
        ("seeds=[0,1]", ("seeds", [0, 1])),
        ("dataset=digits", ("dataset", "digits")),
        ("dataset=folder:a=b", ("dataset", "folder:a=b")),
        ("methods=a,b", ("methods", "a,b")),
        ("runs_dir=", ("runs_dir", "")),
    ],
)
def test_parse_parameter(text, expected):
    assert parse_parameter(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=3", "two words=3", "3=x"])
def test_what_is_no_parameter_is_refused(text):
    with pytest.raises(ArgumentTypeError, match="name=value; got"):
        parse_parameter(text)


def test_a_malformed_parameter_is_explained_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["epochs"])
    assert "a parameter is written name=value" in capsys.readouterr().err


def test_a_missing_notebook_says_where_to_run(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["--notebook", str(tmp_path / "none.ipynb")])
    assert "there is no notebook" in capsys.readouterr().err


def test_the_table_is_what_the_tagged_cell_printed():
    new = nbformat.v4
    stream = [new.new_output("stream", text="one\n"), new.new_output("stream", text="two\n")]
    tagged = new.new_code_cell("", outputs=stream, metadata={"tags": ["table"]})
    plain = new.new_code_cell("", outputs=[new.new_output("stream", text="no\n")])
    assert table_of(new.new_notebook(cells=[plain, tagged])) == "one\ntwo\n"


@pytest.fixture
def notebook_of(tmp_path):
    """A notebook of one cell."""

    def write(source):
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        new = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=metadata)
        nbformat.write(new, tmp_path / "in.ipynb")
        return tmp_path / "in.ipynb"

    return write


@pytest.mark.slow
def test_a_kernel_waits_quietly_and_its_progress_reaches_the_screen_as_it_is(notebook_of, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    source = "import os, sys\nprint(os.environ['OMP_WAIT_POLICY'])\nsys.stderr.write('\\r 5 %\\r10 %')"
    screen = io.StringIO()
    executed = execute(notebook_of(source), tmp_path / "out.ipynb", {}, screen)
    assert screen.getvalue() == "\r 5 %\r10 %"
    assert executed.cells[0].outputs[0].text == "passive\n"


@pytest.mark.slow
def test_a_kernel_that_dies_is_told_in_words(notebook_of, tmp_path, capfd):
    notebook = notebook_of("import os\nos._exit(1)")
    assert main(["--notebook", str(notebook), "--output", str(tmp_path / "out.ipynb"), "x=1"]) == 1
    assert capfd.readouterr().err.splitlines()[-2:] == [
        "DeadKernelError: Kernel died",
        f"The notebook up to there: {tmp_path / 'out.ipynb'}",
    ]


SMALL = ["dataset=digits", "imbalance=5", 'options={"n_max": 20}', "epochs=1"]


def command(tmp_path, *parameters):
    """``python -m dqroute.sweep.notebook``."""
    words = [sys.executable, "-m", "dqroute.sweep.notebook", *parameters, f"runs_dir={tmp_path / 'runs'}"]
    return [*words, "--output", str(tmp_path / "out" / "benchmark.ipynb")]


def from_root(**more):
    """Arguments of a process in the repository's root, whose output is read."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | more


@pytest.fixture
def said_here(monkeypatch, capfd):
    """What the command says, and its errors, called in this process: only the kernel is started."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(tmp_path, *parameters, code=0):
        capfd.readouterr()
        assert main(command(tmp_path, *parameters)[3:]) == code
        return capfd.readouterr()

    return call


@pytest.mark.slow
def test_the_benchmark_trains_prints_its_table_and_finds_its_runs_again(tmp_path, said_here):
    first = subprocess.run(command(tmp_path, *SMALL), **from_root())
    assert first.returncode == 0, first.stderr
    for expected in ("running book", "digits, imbalance 5", "overall", "cross-entropy", "logit-adjustment", "dqroute"):
        assert expected in first.stdout
    # Nothing but the progress of trainings, which these are too short for.
    assert all(re.match(r"[\w-]+ seed 0: epoch 1 of 1, ", line) for line in first.stderr.splitlines())
    runs = sorted((tmp_path / "runs").glob("digits/*/settings.json"))
    assert len(runs) == 3
    notebook = nbformat.read(tmp_path / "out" / "benchmark.ipynb", as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    again = subprocess.run(command(tmp_path, *SMALL), **from_root())
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before
    assert again.stdout == first.stdout

    # A damaged run is named, and the others are tabled.
    (damaged,) = (tmp_path / "runs").glob("digits/cross-entropy-*/settings.json")
    damaged.write_text("{")
    said, errors = said_here(tmp_path, *SMALL)
    assert f"cross-entropy, seed 0, is left out: {damaged} is not readable JSON" in errors
    assert not re.search("^cross-entropy ", said, re.M) and re.search("^logit-adj", said, re.M)


@pytest.mark.slow
def test_an_unknown_parameter_fails_and_is_named(tmp_path, said_here):
    _, errors = said_here(tmp_path, *SMALL, "epoch=1", code=1)
    assert errors.startswith("ValueError: unknown parameter 'epoch' (did you mean 'epochs'?)")
    assert not (tmp_path / "runs").exists()


@pytest.mark.posix
@pytest.mark.slow
def test_ctrl_c_saves_the_training_ends_the_kernel_and_says_how_to_go_on(tmp_path):
    """The progress within an epoch reaches the screen; then Ctrl-C, as a terminal sends it: to the whole group."""
    endless = command(tmp_path, *SMALL, "epochs=10000", "methods=cross-entropy")
    with subprocess.Popen(endless, **from_root(start_new_session=True)) as process:
        assert re.match(r"cross-entropy seed 0: epoch \d+ of 10000, loss ", process.stderr.readline())
        kernels = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    told = [line for line in said.splitlines() if line and "epoch" not in line]
    assert told == [f"stopped: what was trained is saved in {tmp_path / 'runs'}; the same command goes on from there"]
    assert kernels and not any(kernel.is_running() for kernel in kernels)
    assert len(list((tmp_path / "runs").glob("digits/*/checkpoint.safetensors"))) == 1
