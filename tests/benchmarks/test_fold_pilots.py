"""Pilots that judge for a network trained from nothing: each knows all but its fold, and all speak of it."""

import fold_pilots
import pytest
import torch
from training import QUICK

import dqroute as dq


@pytest.fixture
def quick(monkeypatch, runs_dir):
    monkeypatch.setitem(fold_pilots.NETWORKS, "resnet8", QUICK | {"epochs": 1})
    return runs_dir


def test_a_pilot_knows_all_images_but_those_that_it_judges(tiny, quick, monkeypatch):
    trained = []
    monkeypatch.setattr(dq, "fit", lambda method, data, **more: trained.append(data))
    fold = torch.arange(len(tiny.train)) % fold_pilots.FOLDS
    fold_pilots.pilots(tiny, fold, 0, 2, {})
    for held, data in enumerate(trained):
        assert torch.equal(data.train.images, tiny.train.images[fold != held])
        assert data.groups == tiny.groups and data.test is tiny.test
    assert trained[0].identity != trained[1].identity and len(trained) == 2


def test_what_the_pilots_say_is_of_their_own_folds_and_nothing_is_trained_twice(tiny, quick, monkeypatch):
    found = fold_pilots.measured(tiny, "resnet8", 0, 2, quick)
    assert found["pilots"] == 2 and set(found["rank_correlation"]) == {"training", "out of fold"}
    assert set(found["test"]) == {
        "plain mean",
        *(f"{what}, {by}" for what in ("calibrated", "fused") for by in ("training", "out of fold")),
    }
    assert all(0 <= value <= 1 for row in found["test"].values() for value in row.values())
    monkeypatch.setattr("dqroute.training.fit.Training", None)
    again = fold_pilots.measured(tiny, "resnet8", 0, 2, quick)
    assert again == found and "plain mean" in fold_pilots.table([found])
