"""Folds that spread every class, and what is made from what they say."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dqroute.core.judging import balanced_weights, first_of_each, fold_of, kept_from, minimised

LONG_TAILED = torch.arange(4).repeat_interleave(torch.tensor([50, 12, 3, 1]))


def test_every_class_is_spread_as_evenly_as_it_goes():
    fold = fold_of(LONG_TAILED, 5)
    assert fold[LONG_TAILED == 0].bincount().tolist() == [10] * 5
    assert sorted(fold[LONG_TAILED == 1].bincount(minlength=5).tolist()) == [2, 2, 2, 3, 3]
    assert len(fold[LONG_TAILED == 2].unique()) == 3  # fewer images than folds: one in each of three
    sizes = fold[fold >= 0].bincount()
    assert sizes.max() - sizes.min() <= 1


def test_a_class_of_one_image_trains_everybody_and_is_judged_by_nobody():
    assert fold_of(LONG_TAILED, 5)[LONG_TAILED == 3].tolist() == [-1]


def test_the_seed_decides_who_lies_where():
    assert torch.equal(fold_of(LONG_TAILED, 5, seed=1), fold_of(LONG_TAILED, 5, seed=1))
    assert not torch.equal(fold_of(LONG_TAILED, 5, seed=1), fold_of(LONG_TAILED, 5, seed=2))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=6, max_size=80), st.integers(2, 5))
def test_a_group_never_lies_in_two_folds(images, folds):
    labels, groups = (torch.tensor(column) for column in zip(*images, strict=True))
    fold = fold_of(labels, folds, groups)
    for group in groups.unique():
        of_group = fold[groups == group]
        assert len(of_group[of_group >= 0].unique()) <= 1
    for c in labels.unique():
        judged = fold[labels == c]
        # Either several folds hold it, so that each has judges who know it, or nobody judges it.
        assert len(judged[judged >= 0].unique()) != 1 or len(fold_of(labels, folds, groups)[labels == c].unique()) > 1


def test_a_class_that_is_one_burst_is_left_out_of_the_judging():
    labels, groups = torch.tensor([0] * 6 + [1] * 4), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 3])
    fold = fold_of(labels, 2, groups)
    assert (fold[labels == 1] == -1).all() and (fold[labels == 0] >= 0).all()


def test_groups_are_shared_out_evenly():
    labels = torch.arange(3).repeat_interleave(40)
    fold = fold_of(labels, 4, groups=torch.arange(120) // 4)
    assert fold.bincount().tolist() == [30 - 2, 32, 32, 28] or fold.bincount().max() - fold.bincount().min() <= 8
    for c in range(3):
        assert len(fold[labels == c].unique()) == 4


@pytest.mark.parametrize(
    ("folds", "groups", "said"),
    [
        (1, None, "folds must be a whole number of at least 2"),
        (67, None, "67 folds need at least as many images; there are 66"),
        (5, torch.zeros(3), "one for each image"),
    ],
)
def test_impossible_folds_are_refused(folds, groups, said):
    with pytest.raises(ValueError, match=said):
        fold_of(LONG_TAILED, folds, groups)


def test_balanced_weights_let_each_class_count_alike():
    weights = balanced_weights(torch.tensor([0, 0, 0, 2]), 3)
    assert weights.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_the_first_of_each_class():
    assert first_of_each(torch.tensor([1, 0, 1, 1, 0, 2]), 2).tolist() == [0, 1, 2, 4, 5]


def test_the_least_of_a_parabola():
    target = torch.tensor([3.0, -2.0], dtype=torch.float64)
    assert minimised(lambda at: (at - target).square().sum(), torch.zeros(2)).tolist() == pytest.approx([3, -2])


def test_who_judges_a_part_of_a_group_never_sees_the_rest():
    """A burst holds all of class 0, which nobody can judge, and two images of class 1, which the others judge."""
    labels, groups = torch.tensor([0, 0, 1, 1] + [1] * 8 + [2] * 8), torch.tensor([0] * 4 + list(range(1, 17)))
    fold = fold_of(labels, 3, groups)
    own = int(fold[2])
    assert fold[:4].tolist() == [-2 - own] * 2 + [own] * 2 and (fold[2:] >= 0).all()
    assert kept_from(fold).tolist() == [own] * 4 + fold[4:].tolist()
    assert kept_from(torch.tensor([-1, -2, -4, 0, 2])).tolist() == [-1, 0, 2, 0, 2]


def test_six_cameras_with_classes_of_their_own_leave_the_others_judged():
    """Classes 0 to 2 are seen by all cameras, 3 to 8 by one each: it is those alone that nobody judges."""
    labels = torch.cat([torch.tensor([0, 1, 2, 0, 1, 3 + camera, 3 + camera]) for camera in range(6)])
    fold = fold_of(labels, 5, torch.arange(6).repeat_interleave(7))
    assert ((fold >= 0) == (labels < 3)).all() and (fold >= -6).all() and (fold != -1).all()
