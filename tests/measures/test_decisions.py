"""Cuts chosen out of fold, against hand-worked values, and the promise that they make."""

import math

import pytest
import torch

from dqroute.core.judging import balanced_weights
from dqroute.core.long_tail import exponential_counts
from dqroute.measures.decisions import precision_cuts, set_cuts


def test_set_cuts_by_hand():
    """Weights: 1/6 for each image of class 0, 1/2 for that of class 1; class 2 has no image."""
    p, labels = torch.tensor([0.3, 0.9, 0.5, 0.6]), torch.tensor([0, 0, 1, 0])
    # From above 1/6, 2/6, 5/6, 1 is covered. Asked for: 0.6 · 7/6 = 0.7 and 0.6 · 3/2 = 0.9.
    assert set_cuts(p, labels, 3, 0.6).tolist() == pytest.approx([0.5, 0.3, 0.3])
    assert set_cuts(p, labels, 3, 0.25).tolist() == pytest.approx([0.6, 0.5, 0.5])
    # So few images promise no more: every class is in every set.
    assert set_cuts(p, labels, 3, 0.9).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1"):
        set_cuts(p, labels, 3, 90)


@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_classes_are_covered_so_often_on_average_however_rare(coverage):
    """40 classes of 100 to 5 images, the rare ones hard: p = u^hardness, covered by a cut t with 1 - t^(1/hardness)."""
    random = torch.Generator().manual_seed(0)
    counts = (100 * 0.05 ** (torch.arange(40) / 39)).long()
    labels, hardness = torch.arange(40).repeat_interleave(counts), torch.linspace(0.5, 4, 40).double()
    macro, marginal = [], []
    for _ in range(200):
        p = torch.rand(len(labels), generator=random).double() ** hardness[labels]
        cuts = set_cuts(p, labels, 40, coverage)
        macro.append((1 - cuts ** (1 / hardness)).mean())
        marginal.append((1 - p.quantile(1 - coverage) ** (1 / hardness)).mean())
    assert coverage - 0.005 < torch.stack(macro).mean() < coverage + 0.015
    # Every image counting alike, the frequent classes alone would be.
    assert torch.stack(marginal).mean() < coverage - 0.02


def cuts(precision, pooled, weights=None, z=0):
    p = torch.tensor([0.9, 0.95, 0.8, 0.7, 0.5, 0.6])
    said, labels = torch.tensor([0, 1, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 0])
    weights = torch.ones(6) if weights is None else weights
    return precision_cuts(p, said, labels, 3, precision, weights, pooled, z).tolist()


def test_precision_cuts_by_hand():
    """Answers 0: right, right, wrong, right. Answers 1: wrong, right. All from above: 0, 1/2, 2/3, 2/4, 3/5, 4/6."""
    assert cuts(0.75, 0) == pytest.approx([0.5, math.inf, math.inf])
    # One answer of all is added: (3 + 4/6) / 5 = 0.733 at 0.5, (3 + 3/5) / 5 at 0.6, (2 + 2/3) / 3 = 0.889 at 0.8.
    assert cuts(0.73, 1) == pytest.approx([0.5, math.inf, math.inf])
    assert cuts(0.74, 1) == pytest.approx([0.8, math.inf, math.inf])
    # Nobody says 2: what holds of all answers holds of it.
    assert cuts(0.66, 1)[2] == pytest.approx(0.5) and cuts(0.667, 1)[2] == math.inf


def test_the_share_of_all_counts_by_its_lower_end():
    """Four of all six answers are right from 0.5 on: by one standard error (4 + 1/2 - √(4/3 + 1/4)) / 7 = 0.463.

    One of these is added to the four answers 0, three of them right: 3.463 / 5, where without a bound it was 3.667 / 5.
    """
    at = (3 + (4.5 - math.sqrt(4 / 3 + 1 / 4)) / 7) / 5
    assert cuts(at - 1e-6, 1, z=1)[0] == pytest.approx(0.5) and cuts(at + 1e-6, 1, z=1)[0] == pytest.approx(0.8)


def test_of_few_pictures_a_promise_is_kept_on_new_ones():
    """Answers right as often as they are sure, of 12 classes of 5 to 150 pictures, in 40 draws."""
    kept: dict[float, list[float]] = {0: [], 1: []}
    for seed in range(40):
        random = torch.Generator().manual_seed(seed)
        labels = torch.arange(12).repeat_interleave(exponential_counts(150, 12, 30))
        p = torch.rand(len(labels), generator=random)
        said = torch.where(torch.rand(len(labels), generator=random) < p, labels, (labels + 1) % 12)
        for z, shares in kept.items():
            cut = precision_cuts(p, said, labels, 12, 0.85, balanced_weights(labels, 12), z=z)
            # From t on (1 + t) / 2 of new answers are right.
            told = (1 - cut.clamp_max(1)).sum()
            shares.append((((1 - cut.clamp_max(1).square()) / 2).sum() / told).item())
    plain, bound = (sum(share >= 0.85 for share in shares) for shares in kept.values())
    assert plain < 30 <= bound


def test_weights_say_how_common_the_images_are():
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    balanced = balanced_weights(labels, 2)
    # The wrong answer 0 is an image of class 1 and counts twice: three right of five.
    assert cuts(0.61, 0, balanced)[0] == pytest.approx(0.8) and cuts(0.59, 0, balanced)[0] == pytest.approx(0.5)
    assert cuts(0.7, 1, balanced) == cuts(0.7, 1, 7 * balanced)


def test_cuts_of_a_class_with_few_answers_are_about_those_of_all():
    """Answers of probability p are right p of the time: from t on (1 + t) / 2 of them are."""
    p = torch.linspace(0, 1, 2000)
    right = torch.arange(2000) * 0.618034 % 1 < p
    said = torch.zeros(2000, dtype=torch.int64)
    said[1000:1003] = 1
    labels = torch.where(right, said, 2)
    found = precision_cuts(p, said, labels, 3, 0.8, torch.ones(2000), z=0).tolist()
    assert found == pytest.approx([0.6, 0.6, 0.6], abs=0.05)
    # Alone, three answers promise what they happen to be.
    own = right[1000:1003].double().mean().item()
    alone = precision_cuts(p, said, labels, 3, own - 0.01, torch.ones(2000), pooled=0, z=0)
    assert alone[1] < 0.01
