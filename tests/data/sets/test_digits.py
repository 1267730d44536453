"""scikit-learn's digits as an image set."""

import pytest
import torch
from sklearn.datasets import load_digits

from dqroute.data import load
from dqroute.data.sets.digits import enlarged, halves


def test_the_set_is_whole_and_balanced_by_default():
    data = load("digits")
    assert len(data.train) + len(data.test) == 1797
    assert data.shape == (1, 32, 32)
    assert data.imbalance < 1.1
    assert (torch.bincount(data.test.labels) - data.counts).abs().max() <= 1
    assert data.augmentation.flip is False


def test_no_scan_is_in_both_halves_and_each_is_there():
    first, second = halves(torch.from_numpy(load_digits().target).long())
    assert sorted(first.tolist() + second.tolist()) == list(range(1797))


def test_halves_worked_by_hand():
    first, second = halves(torch.tensor([0, 1, 0, 0, 1]))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4])


def test_enlarging_keeps_the_range_and_the_place():
    scan = torch.zeros(1, 8, 8)
    scan[0, 2, 5] = 16
    big = enlarged(scan)
    assert big.dtype == torch.uint8
    row, column = divmod(int(big.argmax()), 32)
    assert (row // 4, column // 4) == (2, 5)
    assert enlarged(torch.full((1, 8, 8), 16.0)).unique().tolist() == [255]


def test_the_test_half_does_not_depend_on_the_seed_and_the_training_draw_does():
    a, b = (load("digits", imbalance=10, seed=seed) for seed in (0, 1))
    assert torch.equal(a.test.images, b.test.images)
    assert a.counts.tolist() == b.counts.tolist()
    assert a.fingerprint() != b.fingerprint()


def test_a_profile_that_does_not_fit_says_what_would():
    # Class 0 has 89 training images and class 8 the fewest, 87.
    with pytest.raises(ValueError, match="class '8' has 87 images, and imbalance 1 asks for 92 .*use n_max=87"):
        load("digits", imbalance=1, n_max=92)
    assert load("digits", imbalance=1).counts.tolist() == [87] * 10
    with pytest.raises(
        ValueError, match="class '0' has 89 images, and imbalance 10 asks for 92; use n_max=89 or order"
    ):
        load("digits", imbalance=10, n_max=92)
    assert int(load("digits", imbalance=10, n_max=92, order="count").counts[3]) == 92


def test_validation():
    data = load("digits", imbalance=5, n_max=80, val=10)
    assert torch.bincount(data.val.labels).tolist() == [10] * 10
    assert int(data.counts.max()) == 70
