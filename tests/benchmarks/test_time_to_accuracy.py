"""The comparison of schedules trains both, finds them again, pairs them by seed, and times them in turn."""

import pytest
from time_to_accuracy import compare, seconds_an_epoch, trained

import dqroute as dq
from dqroute.training.loop import Training

SMALL = {"backbone": "resnet8", "batch_size": 64, "progress": False, "device": "cpu"}


def test_trainings_are_found_again(tmp_path, monkeypatch):
    data = dq.load("digits", imbalance=10, val=0.2)
    recipe = trained(data, [0, 1], tmp_path, preset="paper", epochs=2, **SMALL)
    (short,) = trained(data, [0], tmp_path, preset="short", epochs=1, **SMALL)
    assert recipe[0]["settings"]["schedule"] == "step" and short["settings"]["schedule"] == "cosine"
    assert "optimizer" not in recipe[0]["settings"] and short["settings"]["optimizer"] == "muon"
    monkeypatch.setattr(Training, "__init__", lambda *arguments: pytest.fail("trained again"))
    assert trained(data, [0, 1], tmp_path, preset="paper", epochs=2, **SMALL) == recipe


def test_means_are_compared_and_pairs_where_both_have_the_seed():
    recipe = [{"seed": 0, "overall": 40.0}, {"seed": 1, "overall": 42.0}]
    short = [{"seed": 1, "overall": 43.0}, {"seed": 2, "overall": 41.0}]
    found = compare(recipe, short)
    assert found["overall_minus_recipe"] == pytest.approx(1.0)
    assert found["by_seed"] == {1: pytest.approx(1.0)}


@pytest.mark.slow
def test_an_epoch_of_a_wider_network_takes_longer():
    data = dq.load("digits", imbalance=10, val=0.2)
    common = {"backbone": "resnet8", "batch_size": 64, "device": "cpu", "precision": "fp32"}
    sides = {"narrow": common, "wide": common | {"branch_width": 4.0}}
    seconds = seconds_an_epoch(data, sides, rounds=1)
    assert 0 < seconds["narrow"] < seconds["wide"]
