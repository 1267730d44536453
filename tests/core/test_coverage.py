"""Coverage against hand-worked values, and what must hold of any curve."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqroute.core.coverage import coverage_curve, threshold_for

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


def test_the_threshold_that_answers_most():
    curve = coverage_curve(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([True, False, True, True]))
    # 1/1, 1/2, 2/3, 3/4: from 0.6 on three quarters are right, though at 0.8 they are not.
    assert threshold_for(curve, 0.75) == pytest.approx(0.6)
    assert threshold_for(curve, 0.9) == pytest.approx(0.9)


def test_an_accuracy_out_of_reach_says_what_is_in_reach():
    with pytest.raises(ValueError, match=r"no threshold makes the answers 90.0% right; the best there is is 50.0%"):
        threshold_for(coverage_curve(torch.tensor([0.9, 0.9]), torch.tensor([True, False])), 0.9)


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
