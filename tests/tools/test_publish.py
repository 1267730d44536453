"""What of a grid's runs goes to book/results: all that the book reads, and no weights."""

from __future__ import annotations

import publish as publishing
import pytest
from publish import copy_run, publish

import dqroute as dq
from dqroute.data import DATA_SETS


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


def test_what_is_evaluated_is_published_without_weights(grid, tmp_path):
    (folder,) = publish(grid, tmp_path / "runs", tmp_path / "results")
    names = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert names == {"settings.json", "provenance.json", "epochs.jsonl", "report-test.json", "tradeoff-test.json"}
    (run,) = dq.find_runs(tmp_path / "results")
    assert run.folder == folder and run.method == "cross-entropy" and run.report()


def test_a_run_published_before_is_replaced(grid, tmp_path):
    (folder,) = publish(grid, tmp_path / "runs", tmp_path / "results")
    content = (folder / "epochs.jsonl").read_bytes()
    (folder / "epochs.jsonl").write_text("older")
    (folder / "report-val.json").write_text("older")
    publish(grid, tmp_path / "runs", tmp_path / "results")
    assert (folder / "epochs.jsonl").read_bytes() == content
    assert not (folder / "report-val.json").exists()


def test_a_run_is_not_replaced_by_its_own_copy(grid, tmp_path):
    (run, *_) = dq.find_runs(tmp_path / "runs")
    before = sorted(path.name for path in run.folder.iterdir())
    with pytest.raises(ValueError, match="is where the run itself lies"):
        copy_run(run.folder, run.folder.parent)
    assert sorted(path.name for path in run.folder.iterdir()) == before
