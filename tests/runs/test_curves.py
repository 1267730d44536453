"""The trade-off of a run: both of its curves, kept in its folder."""

import json
from dataclasses import replace
from math import nan

import pytest

import dqroute as dq
from dqroute.runs import curves
from dqroute.data import disk as files
from dqroute.runs.curves import curves_by_method, restored, rounded, trade_off_of
from dqroute.core.tradeoff import Point


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
    monkeypatch.setattr(curves, "trade_off", None)
    again = trade_off_of(dq.Run(run.folder), split="val")
    assert again == {name: [pytest.approx(point, abs=1e-6) for point in points] for name, points in found.items()}


def test_without_the_data_the_remedy_is_named(run):
    with pytest.raises(ValueError, match="pass the image set too"):
        trade_off_of(dq.Run(run.folder), split="test")


def test_other_data_are_refused_though_the_curves_are_there(run, tiny):
    trade_off_of(run, tiny, split="val")
    with pytest.raises(ValueError, match="is not the data of"):
        trade_off_of(run, replace(tiny, identity=tiny.identity | {"version": 7}), split="val")


def test_a_split_that_there_is_not_is_named(run, tiny):
    with pytest.raises(ValueError, match="unknown split 'train'"):
        trade_off_of(run, tiny, split="train")


def test_where_a_group_is_empty_the_file_is_json_all_the_same():
    point = Point(0.5, 0.25, nan, 1 / 3, 0.0)
    text = json.dumps(rounded(point), allow_nan=False)
    assert restored(json.loads(text)) == pytest.approx(point, abs=1e-6, nan_ok=True)


def test_curves_of_a_run_in_a_folder_that_cannot_be_written_are_returned(run, tiny, monkeypatch):
    known = trade_off_of(run, tiny, split="val")
    (run.folder / "tradeoff-val.json").unlink()

    def refuse(path, content):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files, "write_atomically", refuse)
    with pytest.warns(UserWarning, match="not kept, to be worked out again"):
        found = trade_off_of(run, tiny, split="val")
    assert found["routed"] == [pytest.approx(point, abs=1e-6) for point in known["routed"]]


def test_curves_stand_by_method_and_of_one_the_plain_mean_beside_it(run):
    trade_off_of(run, split="val")  # From here on both are read from its file.
    found = curves_by_method([run], split="val")
    assert list(found) == ["dqroute", "dqroute, plain mean"]
    known = trade_off_of(run, split="val")
    assert [*found["dqroute"], *found["dqroute, plain mean"]] == [known["routed"], known["plain mean"]]
