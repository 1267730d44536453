"""Profiles, shot groups and nested class sets against hand-worked and published numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqroute.core.long_tail import exponential_counts, nested_class_sets, shot_groups


@pytest.mark.parametrize(
    ("n_max", "classes", "imbalance", "total", "smallest", "sizes"),
    [
        (500, 100, 100, 10_847, 5, (35, 35, 30)),
        (500, 100, 50, 12_608, 10, (41, 41, 18)),
        (500, 100, 10, 19_573, 50, (69, 31, 0)),
        (5000, 10, 100, 12_406, 50, (8, 2, 0)),
        (5000, 10, 50, 13_996, 100, (9, 1, 0)),
        (5000, 10, 10, 20_431, 500, (10, 0, 0)),
    ],
)
def test_counts_are_those_of_the_published_cifar_sets(n_max, classes, imbalance, total, smallest, sizes):
    counts = exponential_counts(n_max, classes, imbalance)
    groups = shot_groups(counts, "shots")
    assert int(counts.sum()) == total
    assert (int(counts[0]), int(counts[-1])) == (n_max, smallest)
    assert (len(groups.many), len(groups.medium), len(groups.few)) == sizes


def test_counts_worked_by_hand():
    # 100, 100 / 10^(1/2) = 31.6, 100 / 10 = 10
    assert exponential_counts(100, 3, 10).tolist() == [100, 31, 10]


@given(n_max=st.integers(1, 5000), classes=st.integers(2, 200), imbalance=st.floats(1, 500))
def test_counts_never_increase_and_end_at_the_imbalance(n_max, classes, imbalance):
    if n_max / imbalance < 1.001:
        return
    counts = exponential_counts(n_max, classes, imbalance)
    assert counts[0] == n_max
    assert (counts.diff() <= 0).all()
    assert n_max / imbalance - 1.001 <= counts[-1] <= n_max / imbalance + 0.001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 10, 0.5), "imbalance must lie at 1 or above, and be finite; got 0.5"),
        ((100, 1, 10), "num_classes must be a whole number of at least 2; got 1"),
        ((0, 10, 10), "n_max must be a whole number of at least 1; got 0"),
        ((50, 10, 100), "use a smaller imbalance"),
    ],
)
def test_profiles_that_cannot_be_drawn_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        exponential_counts(*arguments)


def test_borders_of_the_groups_are_those_of_ride_and_sade():
    groups = shot_groups([101, 100, 20, 19], "shots")
    assert (groups.many, groups.medium, groups.few) == ((0,), (1, 2), (3,))
    assert groups.of_class().tolist() == [0, 1, 1, 2]
    assert groups["medium"] == (1, 2)


def test_auto_takes_thirds_only_where_a_group_would_be_empty():
    assert shot_groups([200, 50, 5]).rule == "shots"
    thirds = shot_groups([5, 5000, 500, 400, 300])
    assert thirds.rule == "thirds"
    # By count: 1, 2, 3, 4, 0; of five classes the head and the middle get two each.
    assert (thirds.many, thirds.medium, thirds.few) == ((1, 2), (3, 4), (0,))
    assert "thirds of the classes" in thirds.description


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=60), st.sampled_from(["auto", "shots", "thirds"]))
def test_every_class_is_in_exactly_one_group(counts, rule):
    groups = shot_groups(counts, rule)
    assert sorted(groups.many + groups.medium + groups.few) == list(range(len(counts)))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="auto, shots, thirds"):
        shot_groups([1, 2, 3], "halves")
    with pytest.raises(ValueError, match="fewer than 2 classes; got 1"):
        shot_groups([1])
    with pytest.raises(ValueError, match="many, medium, few"):
        shot_groups([200, 50, 5])["all"]


def test_of_two_classes_one_is_many_shot_and_one_few_shot():
    groups = shot_groups([3, 40])
    assert (groups.many, groups.medium, groups.few, groups.rule) == ((1,), (), (0,), "thirds")
    assert nested_class_sets(groups, [3, 40], 3) == [(0, 1), (0,), (0,)]


def test_nested_sets_of_three_experts_are_all_then_medium_and_few_then_few():
    counts = torch.tensor([200, 5, 50, 7])
    groups = shot_groups(counts)
    assert nested_class_sets(groups, counts, 3) == [(0, 1, 2, 3), (1, 2, 3), (1, 3)]
    assert nested_class_sets(groups, counts, 1) == [(0, 1, 2, 3)]
    # The fourth expert takes the rarer half of {1, 3}.
    assert nested_class_sets(groups, counts, 4)[3] == (1,)


def test_nested_sets_are_never_empty():
    counts = torch.tensor([200, 150, 50])
    with pytest.raises(ValueError, match="expert 3 of 3 would have no class"):
        nested_class_sets(shot_groups(counts, "shots"), counts, 3)
    with pytest.raises(ValueError, match="no class has medium or few images: expert 2 of 2"):
        nested_class_sets(shot_groups([200, 150], "shots"), [200, 150], 2)
    # Of eight few-shot classes 4, 2 and 1 are left.
    counts = torch.tensor([200, 50, *range(1, 9)])
    assert [len(s) for s in nested_class_sets(shot_groups(counts), counts, 6)] == [10, 9, 8, 4, 2, 1]
    with pytest.raises(
        ValueError, match="^halved, few-shot classes run out: expert 7 of 7 would have no class; take few"
    ):
        nested_class_sets(shot_groups(counts), counts, 7)
    with pytest.raises(ValueError, match="experts must be a whole number of at least 1"):
        nested_class_sets(shot_groups(counts), counts, 0)
