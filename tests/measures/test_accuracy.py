"""Accuracies and the calibration error, worked by hand on small predictions."""

import pytest
import torch

from dqroute.core.long_tail import ShotGroups
from dqroute.core.routing import fuse
from dqroute.measures.accuracy import accuracies, calibration_error


def test_accuracies_by_hand():
    """Five classes of 4, 4, 4, 2 and 2 images: right 4, 2, 0, 2 and 1 times; who is wrong says class 0."""
    labels = torch.arange(5).repeat_interleave(torch.tensor([4, 4, 4, 2, 2]))
    said = torch.tensor([0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 3, 3, 4, 0])
    found = accuracies(said, labels, ShotGroups((0, 1), (2,), (3, 4), "thirds"))
    assert found["overall"] == pytest.approx(9 / 16)
    assert found["balanced"] == pytest.approx((1 + 0.5 + 0 + 1 + 0.5) / 5)
    assert found["worst"] == 0
    # The class that is never right counts as half an image of its four.
    assert found["harmonic"] == pytest.approx(5 / (1 + 2 + 8 + 1 + 2))
    # F1 is twice the hits over images and answers: 8/15, 4/6, 0, 1, 2/3.
    assert found["macro_f1"] == pytest.approx((8 / 15 + 4 / 6 + 0 + 1 + 2 / 3) / 5)


def test_calibration_by_hand():
    """15 bins. Confidence 0.95 three times, two right: gap 0.95 - 2/3. Confidence 0.55 once, right: gap 0.45.

    Error: ¾ · 0.28333 + ¼ · 0.45 = 0.325.
    """
    probabilities = torch.tensor([[0.95, 0.05]] * 3 + [[0.55, 0.45]])
    error = calibration_error(probabilities, torch.tensor([0, 0, 1, 0]))
    assert error == pytest.approx(0.75 * (0.95 - 2 / 3) + 0.25 * 0.45, abs=1e-6)


def test_calibration_lets_errors_within_a_bin_cancel_and_not_across_bins():
    """Within a bin, 0.9 confident and 9 of 10 right: 0. In two bins, each half right: the mean of the gaps."""
    nine = torch.tensor([[0.9, 0.1]] * 10)
    assert calibration_error(nine, torch.tensor([0] * 9 + [1])) == pytest.approx(0, abs=1e-6)
    two = torch.tensor([[0.9, 0.1]] * 2 + [[0.7, 0.3]] * 2)
    assert calibration_error(two, torch.tensor([0, 1, 0, 1])) == pytest.approx((0.4 + 0.2) / 2, abs=1e-6)


def test_calibration_of_nothing_is_none():
    assert calibration_error(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) is None


@pytest.mark.parametrize("rule", ["probabilities", "restricted"])
def test_sure_and_right_is_well_calibrated_whatever_the_fusion(rule):
    """200 images of class 3, three experts all but certain of it: the error is 0."""
    z = torch.zeros(3, 200, 4)
    z[:, :, 3] = 60.0
    log_odds = 3 * torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    log_odds[0] = torch.inf
    members = torch.tensor([[True] * 4, [False, False, True, True], [False, False, False, True]])
    probabilities = fuse(rule, z, log_odds, members).log_probability.exp()
    assert calibration_error(probabilities, torch.full((200,), 3)) == pytest.approx(0, abs=1e-5)


def test_a_stated_certainty_is_held_to_its_word():
    """Said with probability 1 four times, right three times, and in a bin of its own: beside .99, once and wrong."""
    sure = torch.tensor([[1.0, 0.0]] * 4 + [[0.99, 0.01]])
    error = calibration_error(sure, torch.tensor([0, 0, 0, 1, 1]))
    assert error == pytest.approx((4 * 0.25 + 0.99) / 5, abs=1e-6)
