"""Intervals by hand from the t table, and differences paired by seed."""

import shutil
from dataclasses import dataclass, replace

import pandas as pd
import pytest
from training import QUICK

import dqroute as dq
from dqroute.measures.curves import Point
from dqroute.runs import tables
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.report import Report
from dqroute.runs.tables import (
    by_seed,
    curves_by_method,
    detectors,
    half_interval,
    paired_differences,
    partly_memory,
    summary,
    trade_off_differences,
    trade_offs,
    with_interval,
)

T_2 = 4.30265  # the 97.5 % point of Student's t with 2 degrees of freedom


@dataclass
class FakeRun:
    """What the tables read of a run."""

    method: str
    seed: int
    overall: float | None
    few: float | None = 0.1
    seconds: float = 90.0

    def report(self, split="test"):
        none = {"many": None, "medium": None, "few": None}
        if self.overall is None or split != "test":
            return None
        return Report("test", 10, self.overall, 0.5, 0.6, 0.4, self.few, "groups", [0.5], none, [0.5], none, none, [])


def three_seeds(method, values):
    return [FakeRun(method, seed, value) for seed, value in enumerate(values)]


def test_interval_by_hand():
    """30, 32, 34: mean 32, deviation 2, half of it 4.303 · 2 / √3 = 4.968."""
    assert half_interval(pd.Series([30.0, 32.0, 34.0])) == pytest.approx(T_2 * 2 / 3**0.5, rel=1e-5)
    assert with_interval(pd.Series([30.0, 32.0, 34.0])) == "32.0 ± 5.0"


def test_what_is_partly_memory_is_said_once_and_nothing_where_nothing_is(trained):
    assert partly_memory(trained) == partly_memory([]) == ""

    @dataclass
    class Leaking(FakeRun):
        near: int = 0

        def report(self, split="test"):
            return replace(super().report(), near=self.near, learned=2)

    runs = [Leaking("a", seed, 0.3, near=near) for seed, near in enumerate((4, 5, 3))]
    said = "2 of the 10 images were trained on, in this run or one before it: memory; 5 of the 10 images have a near"
    assert partly_memory({"a row": runs}).startswith(said)


def test_one_seed_or_two_have_no_interval():
    """17.4 ± 47.5 says less than that there are two."""
    assert pd.isna(half_interval(pd.Series([30.0]))) and pd.isna(half_interval(pd.Series([30.0, 34.0])))
    assert with_interval(pd.Series([30.0])) == "30.0"
    assert with_interval(pd.Series([-0.02])) == "0.0"
    assert with_interval(pd.Series([30.0, 34.0])) == "32.0 (2 seeds)"


def test_accuracies_are_in_percent_and_leave_out_what_is_none():
    frame = by_seed([FakeRun("a", 0, 0.25, few=None)], "test")["a"]
    assert frame.to_dict("index") == {0: {"overall": 25.0, "many": 60.0, "medium": 40.0}}


def test_summary_by_hand():
    """Rows in the order given, not of the alphabet; 90 s are 1.5 minutes."""
    table = summary(three_seeds("z", [0.30, 0.32, 0.34]) + [FakeRun("a", 0, 0.5)])
    assert list(table.index) == ["z", "a"]
    assert list(table.columns) == ["overall", "many", "medium", "few", "seeds", "minutes a run"]
    assert table.loc["z"].tolist() == ["32.0 ± 5.0", "60.0 ± 0.0", "40.0 ± 0.0", "10.0 ± 0.0", 3, "1.5"]
    assert table.loc["a", "overall"] == "50.0" and table.loc["a", "seeds"] == 1


def test_rows_can_be_named_otherwise_than_by_method():
    """One method in two settings: by method they cannot be told apart, by name they can."""
    plain, changed = three_seeds("a", [0.30, 0.32, 0.34]), three_seeds("a", [0.31, 0.34, 0.37])
    with pytest.raises(ValueError, match="a seed 0 is there more than once"):
        summary(plain + changed)
    rows = {"a": plain, "a, changed": changed}
    assert summary(rows)["overall"].tolist() == ["32.0 ± 5.0", "34.0 ± 7.5"]
    assert paired_differences(rows, "a").loc["a, changed − a", "overall"] == "2.0 ± 2.5"
    assert list(by_seed(rows, "test")) == ["a", "a, changed"]


def test_a_row_without_runs_is_left_out():
    assert list(summary({"a": three_seeds("a", [0.3, 0.3, 0.3]), "none": []}).index) == ["a"]
    assert by_seed({}, "test") == by_seed([], "test") == {}


def test_a_group_that_no_run_has_is_no_column():
    table = summary([FakeRun("a", 0, 0.5, few=None)])
    assert "few" not in table.columns and "many" in table.columns


def test_where_classes_are_unequal_their_mean_is_a_column():
    """Of a test set of one's own overall is little more than the frequent classes."""

    class Unequal(FakeRun):
        def report(self, split="test"):
            return replace(super().report(split), imbalance=8.0)

    runs = [Unequal("a", seed, 0.7) for seed in range(3)] + [Unequal("b", seed, 0.8) for seed in range(3)]
    assert list(summary(runs).columns)[:2] == ["mean of the classes", "overall"]
    assert summary(runs).loc["a", "mean of the classes"] == "50.0 ± 0.0"
    assert paired_differences(runs, "a").loc["b − a", "mean of the classes"] == "0.0 ± 0.0"


def test_paired_differences_by_hand():
    """b less a, seed by seed: 1, 2, 3 points: mean 2, half the interval 4.303 / √3 = 2.484, whatever the seeds do."""
    runs = three_seeds("a", [0.30, 0.50, 0.10]) + three_seeds("b", [0.31, 0.52, 0.13])
    table = paired_differences(runs, "a")
    assert list(table.index) == ["b − a"]
    assert list(table.columns) == ["overall", "many", "medium", "few"]
    assert table.loc["b − a", "overall"] == "2.0 ± 2.5"


def test_only_seeds_that_both_have_are_paired():
    runs = [FakeRun("a", 0, 0.3), FakeRun("a", 1, 0.9), FakeRun("b", 0, 0.4), FakeRun("b", 2, 0.1)]
    assert paired_differences(runs, "a").loc["b − a", "overall"] == "10.0"


def test_a_method_without_a_common_seed_has_no_difference():
    runs = [FakeRun("a", 0, 0.3), FakeRun("b", 1, 0.4), FakeRun("c", 0, 0.4)]
    table = paired_differences(runs, "a")
    assert table.loc["c − a", "overall"] == "10.0"
    assert "b − a" not in table.index or pd.isna(table.loc["b − a", "overall"])


def test_the_order_of_the_runs_does_not_matter():
    runs = three_seeds("a", [0.30, 0.50, 0.10]) + three_seeds("b", [0.31, 0.52, 0.13])
    there, back = paired_differences(runs, "a"), paired_differences(runs[::-1], "a")
    pd.testing.assert_frame_equal(there, back)


@pytest.mark.parametrize("table", [summary, lambda runs: paired_differences(runs, "a")], ids=["summary", "paired"])
def test_settings_are_not_pooled_as_seeds(table):
    """The same method, seed and split twice, as a sweep of α gives."""
    runs = [FakeRun("a", 0, 0.3), FakeRun("b", 0, 0.4), FakeRun("b", 0, 0.6)]
    with pytest.raises(ValueError, match="more than once"):
        table(runs)


def test_a_run_without_a_report_is_named():
    with pytest.raises(ValueError, match=r"no report on the test split; call dq\.evaluate"):
        summary([FakeRun("a", 0, None)])
    with pytest.raises(ValueError, match="no report on the val split"):
        by_seed([FakeRun("a", 0, 0.3)], "val")


def test_an_unknown_reference_lists_what_there_is():
    with pytest.raises(ValueError, match="no run of 'c' to compare with; there are a, b"):
        paired_differences([FakeRun("a", 0, 0.3), FakeRun("b", 0, 0.4)], "c")


def test_real_runs_make_both_tables(trained):
    table = summary(trained)
    assert list(table.index) == ["cross-entropy", "dqroute"] and table["seeds"].tolist() == [2, 2]
    assert list(paired_differences(trained, "cross-entropy").index) == ["dqroute − cross-entropy"]


def line(height):
    """A curve from few-shot accuracy 0 to 40 %, falling from a height by a quarter of what few-shot accuracy gains."""
    return [Point(shift, height - 0.25 * shift, 0.0, 0.0, shift) for shift in (0.0, 0.4)]


def test_trade_offs_by_hand():
    """At few 20 % lines from 30, 32, 34 % stand at 25, 27, 29; from 10 to 20 % at 26.25, 28.25, 30.25 in the mean."""
    table = trade_offs({"a": [line(0.3), line(0.32), line(0.34)]}, at=(0.2, 0.5), span=(0.1, 0.2))
    assert table.loc["a", "few 20 %"] == "27.0 ± 5.0" and table.loc["a", "mean 10 to 20 %"] == "28.2 ± 5.0"
    assert table.loc["a", "few 50 %"] == "–"


def test_trade_off_differences_are_taken_run_by_run():
    """Lines from 30, 32, 34 % and from 29, 30, 31 %: 1, 2 and 3 apart, mean 2, half the interval 4.303 · 1 / √3."""
    curves = {"a": [line(0.3), line(0.32), line(0.34)], "b": [line(0.29), line(0.3), line(0.31)]}
    table = trade_off_differences(curves, "a", at=(0.2, 0.5), span=(0.1, 0.2))
    assert list(table.index) == ["a − b"]
    assert table.loc["a − b"].tolist() == ["2.0 ± 2.5", "–", "2.0 ± 2.5"]


@pytest.mark.parametrize(
    ("curves", "message"),
    [({"b": [line(0.3)]}, "no curve of 'a'; there are b"), ({"a": [line(0.3)] * 2, "b": [line(0.3)]}, "in pairs")],
)
def test_trade_off_differences_need_pairs(curves, message):
    with pytest.raises(ValueError, match=message):
        trade_off_differences(curves, "a")


def test_detectors_are_means_over_runs(trained):
    runs = [run for run in trained if run.method == "dqroute"]
    table = detectors(runs)
    assert list(table.index) == [(2, 6), (3, 3)]
    wanted = sum(run.report().detectors[0]["auroc"] for run in runs) / len(runs)
    assert table.loc[(2, 6), "auroc"] == pytest.approx(wanted)


def test_curves_stand_by_row_and_of_one_the_plain_mean_beside_it(trained, tiny, tmp_path):
    runs = [dq.Run(shutil.copytree(run.folder, tmp_path / run.folder.name)) for run in trained]
    known = [trade_off_of(run, tiny) for run in runs]
    found = curves_by_method(runs)
    assert list(found) == ["cross-entropy", "dqroute", "dqroute, plain mean"]
    for points, own in zip(found["dqroute, plain mean"], known[1::2], strict=True):
        assert points == [pytest.approx(point, abs=1e-6) for point in own["plain mean"]]
    assert list(curves_by_method({"ours": runs[1::2]}, plain_mean_of="ours")) == ["ours", "ours, plain mean"]


def test_rows_are_named_by_the_options_that_are_not_the_defaults(tiny, tmp_path):
    common = {"epochs": 1, "runs_dir": tmp_path} | QUICK
    asked = [("dqroute", {}), ("dqroute", {"alpha": 0.3}), ("dqroute", {"fusion": "mean", "alpha": 0.3})]
    runs = [dq.fit(method, tiny, **common | options) for method, options in asked]
    rows = tables.by_options(runs)
    assert list(rows) == ["dqroute", "dqroute, alpha=0.3", "dqroute, alpha=0.3, fusion=mean"]
    slower = dq.fit("dqroute", tiny, **common | {"lr": 0.01})
    assert list(tables.by_options([*runs, slower]))[-1] == "dqroute, lr=0.01"


def test_measures_that_a_run_does_not_have_are_no_numbers(trained, monkeypatch):
    known = type(trained[0]).report
    monkeypatch.setattr(type(trained[0]), "report", lambda *given: replace(known(*given), calibrated=None))
    with pytest.raises(ValueError, match="a run has no calibrated measures on the test split"):
        tables.measured(trained, "calibrated")


def test_measures_of_what_is_routed_of_the_mean_and_of_the_calibrated(trained):
    runs = [run for run in trained if run.method == "dqroute"]
    found = {of: tables.measured(runs, of) for of in ("routed", "plain mean", "calibrated")}
    for of, table in found.items():
        assert list(table.index) == [0, 1] and list(table.columns)[:4] == ["overall", "many", "medium", "few"], of
    report = runs[0].report()
    assert found["routed"].loc[0, "worst fifth"] == 100 * report.worst
    assert found["plain mean"].loc[0, "harmonic mean"] == 100 * report.plain_mean["harmonic"]
    assert found["calibrated"].loc[0, "overall"] == 100 * report.calibrated["overall"]
    with pytest.raises(ValueError, match="unknown prediction 'mean'"):
        tables.measured(runs, "mean")
