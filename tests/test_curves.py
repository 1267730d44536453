"""The trade-off of a run: both of its curves, kept in its folder."""

from dataclasses import replace

import pytest

import dqroute as dq
from dqroute import curves
from dqroute.curves import trade_off_of


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
