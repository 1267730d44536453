"""The comparison of schedules trains both, finds them again, and pairs them by seed."""

import pytest
from time_to_accuracy import compare, trained

import dqroute as dq


def test_trainings_are_found_again_and_paired_by_seed(tmp_path):

    data = dq.load("digits", imbalance=10, val=0.2)
    small = {"backbone": "resnet8", "batch_size": 64, "progress": False, "device": "cpu"}
    recipe = trained(data, [0, 1], tmp_path, epochs=2, **small)
    short = trained(data, [0, 1], tmp_path, epochs=1, schedule="cosine", **small)
    assert recipe[0]["settings"]["schedule"] == "step" and short[0]["settings"]["schedule"] == "cosine"
    found = compare(recipe, short)
    assert found["overall_minus_recipe"] == [a["overall"] - b["overall"] for a, b in zip(short, recipe, strict=True)]
    assert 0 < found["share_of_time"] < 1
    again = trained(data, [0, 1], tmp_path, epochs=2, **small)
    assert again == recipe


def test_other_seeds_are_not_compared():
    with pytest.raises(ValueError, match="longer"):
        compare([{"overall": 1.0, "seconds": 1.0}] * 2, [{"overall": 1.0, "seconds": 1.0}])
