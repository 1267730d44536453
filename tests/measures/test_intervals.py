"""Intervals of shares beside those of scipy, and images that stand or fall together."""

import pytest
import torch
from scipy.stats import binomtest

from dqroute.measures.intervals import alike, independent, wilson


@pytest.mark.parametrize(("hits", "number"), [(0, 5), (3, 5), (5, 5), (1, 1), (90, 100)])
def test_the_interval_is_wilsons(hits, number):
    low, high = wilson(torch.tensor(hits / number), torch.tensor(number))
    expected = binomtest(hits, number).proportion_ci(0.95, "wilson")
    assert (low.item(), high.item()) == pytest.approx(tuple(expected), abs=1e-5)


def test_of_no_image_nothing_is_known():
    low, high = wilson(torch.tensor([torch.nan]), torch.tensor([0.0]))
    assert (low.item(), high.item()) == (0, 1)


def test_classes_that_count_alike_by_hand():
    """2² / (1/5 + 1/20) = 16; classes of one size count as all their images."""
    assert alike(torch.tensor([5, 20, 0])).item() == pytest.approx(16)
    assert alike(torch.tensor([30, 30, 30])).item() == pytest.approx(90)


def test_the_interval_of_the_mean_of_classes_holds_it_so_often():
    """Twelve classes with 1 to 30 test pictures each, as a fifth of a small folder has."""
    truth, number = torch.linspace(0.5, 0.95, 12), torch.tensor([1, 1, 1, 2, 3, 3, 5, 6, 9, 12, 16, 30])
    random = torch.Generator().manual_seed(0)
    hits = torch.binomial(number.float().repeat(2000, 1), truth.repeat(2000, 1), generator=random)
    low, high = wilson((hits / number).mean(dim=1), alike(number))
    assert 0.92 <= ((low <= truth.mean()) & (truth.mean() <= high)).double().mean() <= 0.98


def test_a_burst_counts_as_one_image():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    assert independent(labels, 3).tolist() == [4, 3, 0]
    # Class 0: two groups of two. Class 1: a group of two, and one image whose group holds another class, too.
    groups = torch.tensor([7, 7, 9, 9, 3, 3, 7])
    assert independent(labels, 3, groups).tolist() == pytest.approx([2, 9 / 5, 0])
