"""What a user asks of a draw, in one piece."""

import json
from dataclasses import replace

import pytest
import torch

from dqroute.data.draw import Draw
from dqroute.data.splits import long_tailed_split

LABELS = torch.arange(3).repeat_interleave(torch.tensor([30, 60, 40]))
NAMES = ("ant", "bee", "cat")
PLAIN = Draw(4.0, 0, "auto", None, n_max=30)


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
def test_every_argument_reaches_the_draw(change):
    changed = replace(PLAIN, **change)
    direct = {name: value for name, value in changed.identity.items() if name != "groups"}
    split, expected, plain = (
        changed.split(LABELS, NAMES),
        long_tailed_split(LABELS, NAMES, **direct),
        PLAIN.split(LABELS, NAMES),
    )
    assert torch.equal(split.train, expected.train)
    assert (split.val is None) == (expected.val is None)
    assert not torch.equal(split.train, plain.train)


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
