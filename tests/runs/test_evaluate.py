"""An evaluation that refuses other images, is done once, and leaves its curves."""

import json
import shutil
from dataclasses import replace
from importlib import import_module
from math import isnan

import pytest
import torch
import torch.distributed as dist

import dqroute as dq
from dqroute.core.long_tail import ShotGroups
from dqroute.data import disk
from dqroute.runs.evaluate import trade_off_of

# By import_module, because the package's attribute of that name is the function.
module = import_module("dqroute.runs.evaluate")


def test_an_evaluation_is_the_models_prediction_scored(trained, tiny):
    """Accuracies counted here from ``predict``; the report was made by ``evaluate`` and read from disk."""
    run = trained[1]
    report, labels = run.report(), tiny.test.labels
    p = run.model.predict(tiny.test.images)
    right = p.label == labels
    assert report.overall == pytest.approx(right.float().mean().item())
    assert report.overall == pytest.approx(report.balanced)  # 20 test images a class
    assert report.per_class == pytest.approx([right[labels == c].float().mean().item() for c in range(10)])
    few = torch.isin(labels, torch.tensor(tiny.groups.few))
    assert report.few == pytest.approx(right[few].float().mean().item())
    assert report.expert_weights["few"] == pytest.approx(p.expert_weights[few].mean(dim=0).tolist(), abs=1e-5)
    assert [row["expert"] for row in report.detectors] == [2, 3]


@pytest.fixture
def unevaluated(trained, tmp_path):
    """A trained run, opened from a copy of its folder, without its report."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0].folder, folder)
    (folder / "report-test.json").unlink()
    return dq.Run(folder)


def test_evaluation_on_the_validation_split_is_another_report(unevaluated, tiny):
    val = dq.evaluate(unevaluated, tiny, split="val", device="cpu")
    assert (val.split, val.images) == ("val", 50)
    assert unevaluated.report("val") == val and unevaluated.report("test") is None
    test = dq.evaluate(unevaluated, tiny, device="cpu")
    assert (test.split, test.images) == ("test", 200) and unevaluated.report("test") == test


def test_a_second_evaluation_reads_the_first(unevaluated, tiny, monkeypatch):
    first = dq.evaluate(unevaluated, tiny, device="cpu")

    def must_not(*_):
        raise AssertionError("evaluated again")

    monkeypatch.setattr(module, "score", must_not)
    assert dq.evaluate(unevaluated, device="cpu") == first


def test_the_last_epochs_validation_accuracy_is_the_evaluations(trained, unevaluated, tiny):
    val = dq.evaluate(unevaluated, tiny, split="val", device="cpu")
    assert trained[0].epochs[-1]["val"] == pytest.approx(
        {n: getattr(val, n) for n in ("overall", "many", "medium", "few")}
    )


def test_other_data_are_refused_and_the_difference_is_named(unevaluated, tiny_without_val):
    with pytest.raises(ValueError, match="is not the data of .*val is None, was 5"):
        dq.evaluate(unevaluated, tiny_without_val, device="cpu")
    assert unevaluated.report() is None


def test_other_data_are_refused_even_where_there_is_a_report(trained, tiny_without_val):
    with pytest.raises(ValueError, match="is not the data of"):
        dq.evaluate(trained[0], tiny_without_val, device="cpu")


def test_a_run_opened_from_its_folder_asks_for_its_data(unevaluated):
    with pytest.raises(ValueError, match="pass the image set too"):
        dq.evaluate(unevaluated)


def test_a_missing_validation_split_is_explained(tiny_without_val, runs_dir, quick):
    run = dq.fit("cross-entropy", tiny_without_val, epochs=1, runs_dir=runs_dir, **quick)
    with pytest.raises(ValueError, match="load it with val"):
        dq.evaluate(run, split="val", device="cpu")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_unknown_split_lists_the_valid_ones(trained, split):
    with pytest.raises(ValueError, match="test, val"):
        dq.evaluate(trained[0], split=split)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory, quick):
    return dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path_factory.mktemp("runs"), **quick)


def test_at_no_shift_the_curves_are_the_report(run):
    found, report = trade_off_of(run, split="val"), dq.evaluate(run, split="val")
    (routed,) = [point for point in found["routed"] if point.shift == 0]
    (plain,) = [point for point in found["plain mean"] if point.shift == 0]
    for name in ("overall", "many", "medium", "few"):
        assert getattr(routed, name) == pytest.approx(getattr(report, name), abs=1e-6)
        assert getattr(plain, name) == pytest.approx(report.plain_mean[name], abs=1e-6)


def test_curves_are_computed_once_and_read_without_the_data(run, monkeypatch):
    found = trade_off_of(run, split="val")
    monkeypatch.setattr(module, "trade_off", None)
    again = trade_off_of(run.folder, split="val")
    assert again == {name: [pytest.approx(point, abs=1e-6) for point in points] for name, points in found.items()}


def test_curves_ask_for_the_data_of_the_run_and_a_split_that_it_has(run, tiny):
    with pytest.raises(ValueError, match="pass the image set too"):
        trade_off_of(dq.Run(run.folder), split="test")
    trade_off_of(run, tiny, split="val")
    with pytest.raises(ValueError, match="is not the data of"):
        trade_off_of(run, replace(tiny, identity=tiny.identity | {"version": 7}), split="val")
    with pytest.raises(ValueError, match="unknown split 'train'"):
        trade_off_of(run, tiny, split="train")


def test_where_a_group_is_empty_its_accuracy_is_nan_and_the_file_json_all_the_same(run, tiny, monkeypatch):
    monkeypatch.setattr(dq.Run, "groups", ShotGroups(tuple(range(10)), (), (), "shots"))
    (path := run.folder / "tradeoff-test.json").unlink(missing_ok=True)
    found = trade_off_of(run, tiny)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    again = trade_off_of(run, tiny)
    path.unlink()
    for points in (found["routed"], again["routed"]):
        assert isnan(points[0].few) and points[0].overall == pytest.approx(points[0].many)


def test_curves_of_a_run_in_a_folder_that_cannot_be_written_are_returned(run, tiny, monkeypatch):
    known = trade_off_of(run, tiny, split="val")
    (run.folder / "tradeoff-val.json").unlink()

    def refuse(path, content):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(disk, "write_atomically", refuse)
    with pytest.warns(UserWarning, match="not kept, to be worked out again"):
        found = trade_off_of(run, tiny, split="val")
    assert found["routed"] == [pytest.approx(point, abs=1e-6) for point in known["routed"]]


def test_of_processes_that_train_together_one_writes(run, tiny, monkeypatch):
    (run.folder / "report-val.json").unlink(missing_ok=True)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    other = dq.evaluate(run, tiny, split="val", device="cpu")
    assert run.report("val") is None
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    assert dq.evaluate(run, tiny, split="val", device="cpu") == run.report("val") == other
