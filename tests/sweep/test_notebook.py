"""The main job as a user starts it: a process, a notebook, a table."""

import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import nbformat
import pytest

from dqroute.sweep.notebook import main, parse_parameter, table_of

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


def benchmark(tmp_path, *parameters):
    """``python -m dqroute.sweep.notebook`` from the repository's root."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "dqroute.sweep.notebook",
            *parameters,
            "--output",
            str(tmp_path / "out" / "benchmark.ipynb"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        timeout=570,
    )


@pytest.mark.slow
def test_the_benchmark_trains_prints_its_table_and_finds_its_runs_again(tmp_path):
    small = ["dataset=digits", "imbalance=5", "epochs=1", "seeds=[0,1]", f"runs_dir={tmp_path / 'runs'}"]
    first = benchmark(tmp_path, *small)
    assert first.returncode == 0, first.stderr
    for expected in ("digits, imbalance 5", "overall", "cross-entropy", "logit-adjustment", "dqroute", "±"):
        assert expected in first.stdout
    runs = sorted((tmp_path / "runs").glob("digits/*/settings.json"))
    assert len(runs) == 6
    notebook = nbformat.read(tmp_path / "out" / "benchmark.ipynb", as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    again = benchmark(tmp_path, *small)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_an_unknown_parameter_fails_and_is_named(tmp_path):
    result = benchmark(tmp_path, "dataset=digits", "epoch=1", f"runs_dir={tmp_path / 'runs'}")
    assert result.returncode == 1
    assert "unknown parameter epoch; this notebook takes dataset," in result.stderr
    assert not (tmp_path / "runs").exists()
