"""What of a grid's runs goes to book/results: all that the book reads, and no weights."""

from __future__ import annotations

import pandas as pd
import publish as publishing
import pytest

import dqroute as dq
from dqroute.data import DATA_SETS
from dqroute.runs.published import read_published


@pytest.fixture
def grid(monkeypatch, tiny, tmp_path):
    """A grid of two runs on the tests' own image set, of which one is made and evaluated, the other only made."""

    def tiny_set(*, imbalance: float | None = None, seed: int = 0, groups: str = "auto", val: float | None = None):
        return tiny

    monkeypatch.setitem(DATA_SETS, "tiny", tiny_set)
    publishing.loaded.cache_clear()
    path = tmp_path / "grid.yaml"
    settings = {"epochs": 1, "batch_size": 64, "precision": "fp32"}
    path.write_text(f"data: [tiny]\nmethods: [cross-entropy, logit-adjustment]\nsettings: [{settings}]")
    for method in ("cross-entropy", "logit-adjustment"):
        run = dq.fit(method, tiny, runs_dir=tmp_path / "runs", device="cpu", progress=False, **settings)
        if method == "cross-entropy":
            dq.evaluate(run, device="cpu")
    return path


def test_what_is_evaluated_is_published_and_replaced_when_it_is_published_again(grid, tmp_path, capsys):
    arguments = [str(grid), "--to", str(tmp_path / "table.jsonl"), "--runs-dir", str(tmp_path / "runs")]
    for _ in range(2):
        publishing.main(arguments)
        assert "1 runs of 2 are in" in capsys.readouterr().out
        (run,) = read_published(tmp_path / "table.jsonl")
        assert run.method == "cross-entropy" and run.report() and run.read("tradeoff-test.json")


def test_a_table_tells_what_was_asked_and_how_much_was_right(grid, tmp_path):
    publishing.main([str(grid), "--to", str(tmp_path / "table.csv"), "--runs-dir", str(tmp_path / "runs")])
    (line,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    (run,) = (run for run in dq.find_runs(tmp_path / "runs") if run.report())
    assert line["method"] == "cross-entropy" and line["seed"] == 0
    report = run.report()
    assert line["overall"] == pytest.approx(100 * report.overall, rel=1e-4)
    assert line["calibrated"] == pytest.approx(100 * report.calibrated["overall"], rel=1e-4)


def test_where_nothing_is_finished_no_file_is_left(grid, tmp_path, capsys):
    publishing.main([str(grid), "--to", str(tmp_path / "table.jsonl"), "--runs-dir", str(tmp_path / "elsewhere")])
    assert "0 runs of 2" in capsys.readouterr().out and not (tmp_path / "table.jsonl").exists()


def test_a_file_that_is_something_else_is_named_and_kept(grid, tmp_path, capsys):
    (tmp_path / "table.jsonl").write_text("notes\n")
    with pytest.raises(SystemExit):
        publishing.main([str(grid), "--to", str(tmp_path / "table.jsonl"), "--runs-dir", str(tmp_path / "runs")])
    assert "table.jsonl:1 is not readable JSON" in capsys.readouterr().err
    assert (tmp_path / "table.jsonl").read_text() == "notes\n"
