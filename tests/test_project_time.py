"""The projection's arithmetic by hand, and the operations it counts against published numbers."""

import pytest
from project_time import CASES, Assumed, Case, forward_operations, hours, in_words, rows

CASE = Case("places-lt", "resnet18", 1, 10, train=3600, val=0, test=0)  # 30 epochs


def test_the_longer_of_two_times_decides():
    """3 · 2 · 3,600 operations an epoch: at 6 a second 3,600 s, and reading at 10 images a second 360 s; 30 epochs."""
    assert hours(CASE, 2, 6.0, 10.0) == {"hours": pytest.approx(30), "decided_by": "compute"}
    assert hours(CASE, 2, 6.0, 0.5) == {"hours": pytest.approx(60), "decided_by": "input"}


def test_validation_and_test_images_cost_a_forward_pass():
    """1,800 validation images take 600 s after each of 30 epochs, 5,400 test images 1,800 s once."""
    case = CASE._replace(val=1800, test=5400)
    assert hours(case, 2, 6.0, 1e9)["hours"] == pytest.approx(30 + 30 * 600 / 3600 + 0.5)


def test_operations_are_those_of_the_papers():
    """ResNet-50 has 4.1 and ResNet-152 11.5 thousand million multiply-adds (torchvision's own pages)."""
    assert forward_operations(CASES[0]) == pytest.approx(2 * 4.09e9, rel=0.01)
    places = next(case for case in CASES if case.backbone == "resnet152" and case.experts == 1)
    assert forward_operations(places) == pytest.approx(2 * 11.51e9, rel=0.01)


def test_eight_gpus_are_eight_times_one_but_for_what_they_lose():
    (row,) = rows(rate=1e9, speed=1e9, assumed=Assumed(scaling=0.5), cases=[CASE])
    for share in ("low", "high"):
        assert row["1_gpu"][share]["hours"] == pytest.approx(4 * row["8_gpu"][share]["hours"])
    assert row["1_gpu"]["low"]["hours"] == pytest.approx(3 * row["1_gpu"]["high"]["hours"])
    assert "1 GPU " in in_words(row) and "8 GPUs " in in_words(row)
