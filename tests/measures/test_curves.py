"""Trade-off and coverage curves against hand-worked values, and what must hold of any curve."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqroute.core.long_tail import ShotGroups
from dqroute.core.losses import log_prior
from dqroute.measures.curves import SHIFTS, Point, area, coverage_curve, curve, overall_at, trade_off

GROUPS = ShotGroups((0,), (1,), (2,), "shots")


def line(*pairs):
    """Points with given few-shot and overall accuracies."""
    return [Point(index, overall, math.nan, math.nan, few) for index, (few, overall) in enumerate(pairs)]


def test_points_by_hand():
    """π = 0.8, 0.1, 0.1. An image of class 2 looks like class 0, by log 4: from τ = log 4 / log 8 on it turns."""
    log_pi = log_prior(torch.tensor([80, 10, 10]))
    logits = torch.tensor([[math.log(4), -9.0, 0.0], [2.0, 0.0, -9.0], [0.0, 9.0, 0.0]])
    turn = math.log(4) / math.log(8)
    before, after = trade_off(logits, torch.tensor([2, 0, 1]), GROUPS, log_pi, [turn - 0.01, turn + 0.01])
    assert before == Point(turn - 0.01, pytest.approx(2 / 3), 1.0, 1.0, 0.0)
    assert after == Point(turn + 0.01, 1.0, 1.0, 1.0, 1.0)


def test_without_correction_a_method_stands_as_it_is():
    logits, labels = torch.randn(50, 3), torch.arange(50) % 3
    (point,) = [p for p in trade_off(logits, labels, GROUPS, log_prior(torch.tensor([9, 3, 1]))) if p.shift == 0]
    assert point.overall == pytest.approx((logits.argmax(dim=1) == labels).double().mean().item())
    assert 0.0 in SHIFTS


def test_the_rare_gain_and_the_frequent_lose_with_the_correction():
    torch.manual_seed(0)
    logits, labels = torch.randn(300, 3), torch.arange(300) % 3
    points = trade_off(logits, labels, GROUPS, log_prior(torch.tensor([90, 30, 10])))
    few, many = [p.few for p in points], [p.many for p in points]
    assert few == sorted(few) and many == sorted(many, reverse=True)


def test_between_points_the_curve_is_straight_and_of_two_branches_the_higher_counts():
    points = line((0.1, 0.3), (0.3, 0.4), (0.5, 0.2), (0.2, 0.1))
    assert overall_at(points, 0.2) == pytest.approx(0.35)
    assert overall_at(points, 0.4) == pytest.approx(0.3)
    assert math.isnan(overall_at(points, 0.6)) and math.isnan(overall_at(points, 0.05))


def test_the_overdone_end_does_not_answer_for_levels_below_the_weakest_correction():
    """The last two points have lost few-shot accuracy again; 0.45 and 0.55 they alone have passed through."""
    points = line((0.6, 0.75), (0.7, 0.8), (0.8, 0.85), (0.5, 0.4), (0.4, 0.3))
    assert math.isnan(overall_at(points, 0.55)) and math.isnan(overall_at(points, 0.45))
    assert overall_at(points, 0.65) == pytest.approx(0.775)
    assert math.isnan(area(points, 0.5, 0.7))


def test_area_is_the_mean_height_and_asks_for_the_whole_range():
    points = line((0.1, 0.3), (0.3, 0.4), (0.5, 0.2))
    assert area(points, 0.1, 0.3) == pytest.approx(0.35, abs=1e-3)
    assert math.isnan(area(points, 0.1, 0.6))


def test_without_few_shot_images_nothing_is_reached():
    points = [Point(0.0, 0.5, 0.5, 0.5, float("nan")), Point(1.0, 0.4, 0.4, 0.4, float("nan"))]
    assert curve(points).isnan().all()


P = torch.tensor([0.9, 0.5, 0.8, 0.5])
RIGHT = torch.tensor([True, True, False, False])


def test_a_curve_by_hand():
    """Sorted: 0.9 right, 0.8 wrong, then 0.5 twice, one right: 1/1, 1/2, 2/4."""
    curve = coverage_curve(P, RIGHT)
    assert curve.threshold.tolist() == pytest.approx([0.9, 0.8, 0.5])
    assert curve.coverage.tolist() == [0.25, 0.5, 1.0]
    assert curve.accuracy.tolist() == [1.0, 0.5, 0.5]


def test_a_weighted_curve_by_hand():
    """The image at 0.8 counts three times: 1/1, 1/4, 2/6."""
    curve = coverage_curve(P, RIGHT, torch.tensor([1.0, 1.0, 3.0, 1.0]))
    assert curve.coverage.tolist() == pytest.approx([1 / 6, 4 / 6, 1])
    assert curve.accuracy.tolist() == pytest.approx([1, 1 / 4, 2 / 6])


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=40))
def test_every_point_is_what_answering_from_its_threshold_gives(images):
    p, right = (torch.tensor(column) for column in zip(*images, strict=True))
    curve = coverage_curve(p, right)
    assert curve.coverage[-1] == 1 and curve.accuracy[-1].item() == pytest.approx(right.double().mean().item())
    for threshold, coverage, accuracy in zip(*curve, strict=True):
        answered = p.double() >= threshold
        assert coverage.item() == pytest.approx(answered.double().mean().item())
        assert accuracy.item() == pytest.approx(right[answered].double().mean().item())


@pytest.mark.parametrize("images, answers", [(0, 0), (3, 2)])
def test_a_curve_needs_an_answer_an_image(images, answers):
    with pytest.raises(ValueError, match="a curve needs images, and an answer each"):
        coverage_curve(torch.rand(images), torch.ones(answers, dtype=torch.bool))


def test_images_without_weight_answer_nothing():
    curve = coverage_curve(torch.tensor([0.9, 0.8]), torch.tensor([True, False]), torch.tensor([0.0, 1.0]))
    assert curve.threshold.tolist() == pytest.approx([0.8]) and curve.accuracy.tolist() == [0.0]


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -1.0, 1.0, 1.0], [0.0] * 4])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="a weight for each of 4 images"):
        coverage_curve(P, RIGHT, torch.tensor(weights))
