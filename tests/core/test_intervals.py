"""Intervals of shares beside those of scipy, and images that stand or fall together."""

import pytest
import torch
from scipy.stats import binomtest

from dqroute.core.intervals import independent, wilson


@pytest.mark.parametrize(("hits", "number"), [(0, 5), (3, 5), (5, 5), (1, 1), (90, 100)])
def test_the_interval_is_wilsons(hits, number):
    low, high = wilson(torch.tensor(hits / number), torch.tensor(number))
    expected = binomtest(hits, number).proportion_ci(0.95, "wilson")
    assert (low.item(), high.item()) == pytest.approx(tuple(expected), abs=1e-5)


def test_of_no_image_nothing_is_known():
    low, high = wilson(torch.tensor([torch.nan]), torch.tensor([0.0]))
    assert (low.item(), high.item()) == (0, 1)


def test_a_burst_counts_as_one_image():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    assert independent(labels, 3).tolist() == [4, 3, 0]
    # Class 0: two groups of two. Class 1: a group of two, and one image whose group holds another class, too.
    groups = torch.tensor([7, 7, 9, 9, 3, 3, 7])
    assert independent(labels, 3, groups).tolist() == pytest.approx([2, 9 / 5, 0])
