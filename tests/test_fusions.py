"""The table from which a fusion rule is chosen."""

import sys

import fusions
import pytest
import torch
from fusions import LEVELS, compared, told_the_group

import dqroute as dq
from dqroute.data import DATA_SETS
from dqroute.long_tail import ShotGroups

GROUPS = ShotGroups(many=(0,), medium=(1,), few=(2, 3), rule="by hand")
LABELS = torch.tensor([0, 1, 2, 3])


def test_told_the_group_only_its_classes_compete_worked_by_hand():
    """Every image goes to class 0. Of the two few-shot classes, class 3 is the likelier for both images."""
    log_probability = torch.tensor([9.0, 1.0, 2.0, 3.0]).expand(4, 4)
    table = told_the_group({"mean": log_probability}, LABELS, GROUPS)
    assert table.loc["mean"].tolist() == [100, 100, 50]


def test_a_row_holds_the_accuracies_and_the_heights_of_its_curve():
    """Always right: 100 % everywhere as it is; the correction cannot make few-shot accuracy 15 % of it."""
    table = compared(
        {"sure": 100 * torch.eye(4)}, LABELS, GROUPS, torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1])), LEVELS
    )
    assert table.loc["sure", ["overall", "many", "medium", "few"]].tolist() == [100] * 4
    assert table.loc["sure", "few 15":].isna().all()


def test_the_tables_of_a_trained_run(trained, tiny, monkeypatch, capsys):
    """The rule that the run was trained with has the accuracy that its report has."""
    run = next(run for run in trained if run.method == "dqroute")
    monkeypatch.setitem(DATA_SETS, "tiny", lambda *, imbalance=None, seed=0, groups="auto", val=None: tiny)
    monkeypatch.setattr(sys, "argv", ["fusions.py", str(run.folder), "tiny", "{}"])
    fusions.main()
    first, second = capsys.readouterr().out.split("told the shot group:")
    rows = {line.split("  ")[0]: line.split() for line in first.splitlines()[1:] if line}
    report = dq.evaluate(run, tiny, split="val")
    assert float(rows["nested"][1]) == pytest.approx(100 * report.overall, abs=0.5)
    assert float(rows["mean"][1]) == pytest.approx(100 * report.plain_mean["overall"], abs=0.5)
    assert {"advised", "rings, 0.25 of the ring's expert", "expert 3"} <= set(rows)
    assert "expert 3" in second
