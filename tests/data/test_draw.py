"""What a user asks of a draw, profiles, and validation images held out."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dqroute.core.long_tail import exponential_counts
from dqroute.data.draw import Draw, checked_val, generator, head_to_tail, profile_counts

LABELS = torch.arange(3).repeat_interleave(torch.tensor([30, 60, 40]))
NAMES = ("ant", "bee", "cat")
PLAIN = Draw(4.0, 0, "auto", None, n_max=30)


def long_tailed_split(labels, class_names, *, imbalance, seed=0, val=None, **options):
    return Draw(imbalance, seed, "auto", val, **options).split(labels, class_names)


def class_groups(split, rule="auto"):
    return replace(PLAIN, groups=rule).groups_of(split)


def pool(counts, shuffle=0):
    """Labels of a pool with so many images per class, in mixed order, and class names."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(shuffle))], names(len(counts))


def names(number):
    return [f"kind{c}" for c in range(number)]


def count(labels, indices, classes):
    return torch.bincount(labels[indices], minlength=classes).tolist()


pools = st.lists(st.integers(20, 60), min_size=3, max_size=8)
vals = st.one_of(st.none(), st.floats(0.05, 0.9), st.integers(1, 9))


@settings(deadline=None)
@given(counts=pools, imbalance=st.floats(1, 8), val=vals, seed=st.integers(0, 1000))
def test_train_and_validation_are_disjoint_and_exactly_as_large_as_asked(counts, imbalance, val, seed):
    labels, class_names = pool(counts)
    n_max = min(counts)
    split = long_tailed_split(labels, class_names, imbalance=imbalance, val=val, seed=seed, n_max=n_max)
    whole = exponential_counts(n_max, len(counts), imbalance)
    train = torch.tensor(count(labels, split.train, len(counts)))
    assert torch.equal(split.counts, whole)
    assert len(split.train.unique()) == len(split.train)
    assert (split.train.diff() > 0).all()
    if val is None:
        assert split.val is None
        assert torch.equal(train, whole)
        return
    held = torch.tensor(count(labels, split.val, len(counts)))
    assert not set(split.train.tolist()) & set(split.val.tolist())
    assert (train >= 1).all()
    if isinstance(val, int):
        assert (held == val).all()
        assert torch.equal(train, exponential_counts(n_max - val, len(counts), imbalance))
    else:
        assert torch.equal(train + held, whole)
        assert (held >= 1).all()
        free = (held > 1) & (train > 1)  # neither bound at work
        assert ((held - val * whole).abs()[free] <= 0.5001).all()


@settings(deadline=None)
@given(counts=pools, val=vals, seed=st.integers(0, 1000))
def test_the_seed_alone_decides(counts, val, seed):
    labels, class_names = pool(counts)

    def draw(seed):
        return long_tailed_split(labels, class_names, imbalance=4, val=val, seed=seed, n_max=min(counts))

    first, again, other = draw(seed), draw(seed), draw(seed + 1)
    assert torch.equal(first.train, again.train)
    assert (first.val is None) == (again.val is None)
    assert first.val is None or torch.equal(first.val, again.val)
    assert not torch.equal(first.train, other.train)


def test_a_class_is_drawn_alike_whatever_the_others_hold():
    small, class_names = pool([30, 20, 10])
    # The same first class in front of other classes: its positions in the pool are the same.
    other = torch.where(small == 2, 1, small)
    a = long_tailed_split(small, class_names, imbalance=3, seed=5).train
    b = long_tailed_split(other, class_names[:2], imbalance=2, seed=5, order="label", n_max=29).train
    of_a, of_b = set(a[small[a] == 0].tolist()), set(b[other[b] == 0].tolist())
    assert len(of_b) == 29
    assert of_b < of_a


@given(seed=st.integers(0, 100))
def test_a_smaller_draw_is_part_of_a_larger_one(seed):
    labels, class_names = pool([40, 40, 40])
    sets = [
        set(long_tailed_split(labels, class_names, imbalance=factor, seed=seed).train.tolist()) for factor in (2, 5, 20)
    ]
    assert sets[2] < sets[1] < sets[0]
    for val in (0.3, 5):
        kept = set(long_tailed_split(labels, class_names, imbalance=5, seed=seed, val=val).train.tolist())
        assert kept < sets[1]


def test_counts_worked_by_hand():
    labels, class_names = pool([100, 100, 100])
    split = long_tailed_split(labels, class_names, imbalance=10, val=0.25)
    assert split.counts.tolist() == [100, 31, 10]
    # A quarter of 100, 31 and 10 is 25, 7.75 and 2.5; halves are rounded up.
    assert count(labels, split.val, 3) == [25, 8, 3]
    assert count(labels, split.train, 3) == [75, 23, 7]
    balanced = long_tailed_split(labels, class_names, imbalance=10, val=20)
    # From 80: 80, 80 / 10^(1/2) = 25.3, 8.
    assert count(labels, balanced.train, 3) == [80, 25, 8]
    assert count(labels, balanced.val, 3) == [20, 20, 20]
    assert balanced.counts.tolist() == [100, 31, 10]


def test_without_imbalance_everything_is_kept():
    labels, class_names = pool([4, 9, 2])
    split = long_tailed_split(labels, class_names, imbalance=None)
    assert split.train.tolist() == list(range(15))
    assert split.order.tolist() == [1, 0, 2]
    assert count(labels, long_tailed_split(labels, class_names, imbalance=None, val=1).train, 3) == [3, 8, 1]


def test_a_fraction_never_takes_the_last_image_nor_none():
    labels, class_names = pool([2, 3, 40])
    assert count(labels, long_tailed_split(labels, class_names, imbalance=None, val=0.01).val, 3) == [1, 1, 1]
    assert count(labels, long_tailed_split(labels, class_names, imbalance=None, val=0.99).train, 3) == [1, 1, 1]


def test_orders():
    available = torch.tensor([10, 30, 20, 30])
    assert head_to_tail(available, "label").tolist() == [0, 1, 2, 3]
    assert head_to_tail(available, "count").tolist() == [1, 3, 2, 0]
    assert head_to_tail(available, [3, 2, 1, 0]).tolist() == [3, 2, 1, 0]
    assert profile_counts(100, torch.tensor([2, 0, 1]), 10).tolist() == [31, 10, 100]


@pytest.mark.parametrize("order", [[0, 1, 1, 3], [0, 1, 2], [1, 2, 3, 4]])
def test_an_order_must_be_a_permutation(order):
    with pytest.raises(ValueError, match="each of the 4 classes once"):
        head_to_tail(torch.tensor([1, 2, 3, 4]), order)


def test_unknown_order():
    with pytest.raises(ValueError, match="'size'; the valid ones are label, count"):
        head_to_tail(torch.tensor([1, 2]), "size")


def test_a_class_too_small_for_the_profile_is_named_with_remedies_that_work():
    labels, class_names = pool([30, 60, 60])
    with pytest.raises(ValueError) as error:
        long_tailed_split(labels, class_names, imbalance=4)
    assert str(error.value) == (
        "class 'kind0' has 30 images, and imbalance 4 asks for 60; use n_max=30 or order=\"count\""
    )
    assert count(labels, long_tailed_split(labels, class_names, imbalance=4, n_max=30).train, 3) == [30, 15, 7]
    assert count(labels, long_tailed_split(labels, class_names, imbalance=4, order="count").train, 3) == [15, 60, 30]


@given(st.lists(st.integers(1, 80), min_size=3, max_size=6), st.floats(1, 10))
def test_the_suggested_head_is_the_largest_that_fits(counts, imbalance):
    labels, class_names = pool(counts)
    try:
        long_tailed_split(labels, class_names, imbalance=imbalance)
        return
    except ValueError as error:
        if "n_max=" not in str(error) or "largest has" in str(error):
            return
        suggested = int(str(error).split("use n_max=")[1].split()[0])
    long_tailed_split(labels, class_names, imbalance=imbalance, n_max=suggested)
    with pytest.raises(ValueError):
        long_tailed_split(labels, class_names, imbalance=imbalance, n_max=suggested + 1)


def test_several_short_classes_are_counted_and_validation_is_mentioned():
    labels, class_names = pool([30, 10, 10])
    with pytest.raises(ValueError, match=r"class 'kind1' has 10 .* asks for 30 \(1 more classes are short too\)"):
        long_tailed_split(labels, class_names, imbalance=1)
    labels, class_names = pool([40, 28, 20])
    with pytest.raises(ValueError, match="class 'kind2' has 10 images left after 10 were held out for validation"):
        long_tailed_split(labels, class_names, imbalance=2, val=10)
    # The remedy counts the held-out images in: 40 - 10 = 30 ask for 15 of the last class, 31 - 10 = 21 for 10.
    with pytest.raises(ValueError, match="use n_max=31 or a smaller val"):
        long_tailed_split(labels, class_names, imbalance=2, val=10)
    assert count(labels, long_tailed_split(labels, class_names, imbalance=2, val=10, n_max=31).train, 3) == [21, 14, 10]


def test_validation_that_leaves_nothing_is_refused():
    labels, class_names = pool([9, 3, 1])
    with pytest.raises(ValueError, match="class 'kind2' has 1 image, and val=3 per class leaves none .*; add images"):
        long_tailed_split(labels, class_names, imbalance=None, val=3)
    # Of a share it is left out: a class of one image keeps it.
    split = long_tailed_split(labels, class_names, imbalance=None, val=0.5)
    assert count(labels, split.train, 3) == [4, 1, 1] and count(labels, split.val, 3) == [5, 2, 0]
    labels, class_names = pool([9, 3, 4])
    with pytest.raises(ValueError, match="class 'kind1' has 3 images, and val=4 .* use val=2 or less"):
        long_tailed_split(labels, class_names, imbalance=None, val=4)
    labels, class_names = pool([90, 90, 90])
    with pytest.raises(ValueError, match="val=30 per class leaves none of n_max=30"):
        long_tailed_split(labels, class_names, imbalance=2, val=30, n_max=30)


def test_n_max_without_a_profile_is_refused():
    labels, class_names = pool([9, 3, 3])
    with pytest.raises(ValueError, match="pass imbalance=1"):
        long_tailed_split(labels, class_names, imbalance=None, n_max=3)


@pytest.mark.parametrize("val", [0, 1.0, -0.1, 1.5, -3, True, float("nan"), "0.1"])
def test_val_out_of_range(val):
    with pytest.raises(ValueError, match="a fraction between 0 and 1"):
        checked_val(val)


def test_generators_differ_by_every_part_of_their_key():
    keys = [("split", 0, 1), ("split", 1, 0), ("split", 0, 2), ("rarity", 0, 1), ("split", 0, 1)]
    draws = [torch.rand(4, generator=generator(*key)).tolist() for key in keys]
    assert draws[0] == draws[4]
    assert len({tuple(draw) for draw in draws}) == 4


def test_groups_ignore_what_was_held_out():
    labels, class_names = pool([110, 110, 110])
    # 110, 34 and 11 images; 80 of 110 stay after holding out, which would no longer count as many.
    for val in (None, 0.3, 5):
        split = long_tailed_split(labels, class_names, imbalance=10, val=val)
        groups = class_groups(split)
        assert (groups.many, groups.medium, groups.few, groups.rule) == ((0,), (1,), (2,), "shots")


def test_groups_of_another_imbalance():
    labels, class_names = pool([500] * 100)
    mild = long_tailed_split(labels, class_names, imbalance=10)
    strong = long_tailed_split(labels, class_names, imbalance=100)
    assert class_groups(mild, "shots").few == ()
    borrowed, own = class_groups(mild, "imbalance-100"), class_groups(strong, "shots")
    assert (borrowed.many, borrowed.medium, borrowed.few) == (own.many, own.medium, own.few)
    assert borrowed.rule == "imbalance-100"
    assert borrowed.description == "35 many / 35 medium / 30 few classes (the groups of imbalance 100)"


def test_groups_of_another_imbalance_follow_the_order_of_the_classes():
    labels, class_names = pool([200, 200, 200])
    split = long_tailed_split(labels, class_names, imbalance=2, order=[2, 0, 1])
    # At imbalance 20: 200, 44 and 10.
    groups = class_groups(split, "imbalance-20")
    assert (groups.many, groups.medium, groups.few) == ((2,), (0,), (1,))


@pytest.mark.parametrize("rule", ["halves", "imbalance-", "imbalance-x", 100])
def test_unknown_groups_list_the_valid_ones(rule):
    labels, class_names = pool([9, 9, 9])
    with pytest.raises(ValueError, match="auto, shots, thirds, imbalance-100"):
        class_groups(long_tailed_split(labels, class_names, imbalance=None), rule)


@pytest.mark.parametrize(
    "change",
    [
        {"imbalance": 2.0},
        {"imbalance": None, "n_max": None},
        {"seed": 1},
        {"val": 5},
        {"n_max": 20},
        {"order": "count"},
    ],
)
def test_every_argument_reaches_the_draw_and_its_identity(change):
    changed = replace(PLAIN, **change)
    assert not torch.equal(changed.split(LABELS, NAMES).train, PLAIN.split(LABELS, NAMES).train)
    assert changed.identity == PLAIN.identity | change


def test_the_groups_follow_the_rule_asked_for():
    split = PLAIN.split(LABELS, NAMES)
    assert split.counts.tolist() == [30, 15, 7]
    assert replace(PLAIN, groups="thirds").groups_of(split).few == (2,)
    assert replace(PLAIN, groups="shots").groups_of(split).few == (1, 2)  # fewer than 20


def test_two_draws_with_one_identity_are_one_draw():
    assert PLAIN.identity == {"imbalance": 4.0, "seed": 0, "groups": "auto", "val": None, "n_max": 30, "order": "label"}
    assert replace(PLAIN, groups="shots").identity != PLAIN.identity


@pytest.mark.parametrize("order", [(2, 1, 0), [2, 1, 0], torch.tensor([2, 1, 0])], ids=["tuple", "list", "tensor"])
def test_an_order_is_the_same_in_any_form_and_json_can_carry_it(order):
    identity = Draw(2.0, 0, "auto", None, order=order).identity
    assert json.loads(json.dumps(identity)) == identity and identity["order"] == [2, 1, 0]
