"""The tools' methods that know the truth weigh classes by it, and by nothing else."""

from __future__ import annotations

import pytest
import torch
from told import Told, WeightedByTruth, known_difficulty

from dqroute.core.long_tail import exponential_counts, shot_groups
from dqroute.methods.base import Problem
from dqroute.methods.baselines import Weighted


@pytest.fixture(scope="module")
def characters():
    counts = exponential_counts(200, 100, 100)
    return Problem(counts, shot_groups(counts), 1, (80.0,), (90.0,))


def test_the_known_difficulty_is_the_errors_share_of_the_largest(characters):
    d = known_difficulty(characters)
    assert d.shape == (100,) and d.max() == 1 and d.min() >= 0 and len(d.unique()) > 10
    torch.testing.assert_close(Told(characters).truth, (2 * d).float())


def test_without_hardness_it_is_the_method_that_weighs_by_rarity(characters):
    plain, told = Weighted(characters, rarity=0.5), WeightedByTruth(characters, rarity=0.5, hardness=0.0)
    torch.testing.assert_close(told.focus, plain.focus)
    torch.testing.assert_close(told.log_prior, plain.log_prior)


def test_hardness_weighs_by_the_known_difficulty_and_the_prior_follows(characters):
    d, n = known_difficulty(characters), characters.counts.double()
    told = WeightedByTruth(characters, rarity=0.25, hardness=-1.0)
    v = told.focus.double()
    torch.testing.assert_close(v / v[0], (n / n[0]) ** -0.25 * (d[0] - d).exp(), rtol=1e-5, atol=0)
    assert float(v @ n / n.sum()) == pytest.approx(1)
    torch.testing.assert_close(told.log_prior.exp().double(), v * n / (v @ n), rtol=1e-5, atol=0)


def test_other_classes_than_the_characters_are_refused(problem):
    for method in (Told, WeightedByTruth):
        with pytest.raises(ValueError, match=r"difficulty of 100 characters is known; got 10 classes"):
            method(problem)
