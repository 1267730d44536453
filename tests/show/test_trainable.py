"""The figure in which a reader trains: what stands in its page. tests/visits/test_trained_in_page.py trains it."""

import base64
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

import dqroute as dq
from dqroute.show import train_it_yourself

STILL, ALT = "<p>still</p>", "rare < frequent"


@pytest.fixture(scope="module")
def pool():
    return dq.load("photographs", imbalance=10, groups="imbalance-100")


def told(figure):
    return json.loads(BeautifulSoup(figure.page, "html.parser").find("script", type="application/json").string)


def array(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"]).reshape(packed["shape"])


def test_its_page_is_small_and_holds_the_photographs_as_they_are(pool):
    figure = train_it_yourself(pool, STILL, ALT)
    assert len(figure.page) < 3_100_000
    data = told(figure)
    train, labels = torch.tensor(array(data["train"])), torch.tensor(array(data["labels"]).astype("int64"))
    assert train.shape == (len(pool.train), 96) and array(data["test"]).shape == (3000, 96)
    assert (labels.bincount() == pool.counts).all() and labels.equal(labels.sort().values)
    assert data["starts"] == [0, *pool.counts.cumsum(0).tolist()]
    # Each class's rows are its own, in another order: their sums are the same up to rounding to eight bits.
    given = pool.train.features[:, :96]
    step = given.abs().max() / 127
    for c in (0, 57, 99):
        apart = step * train[labels == c].float().mean(dim=0) - given[pool.train.labels == c].mean(dim=0)
        assert apart.abs().max() < step / 2


def test_the_largest_class_comes_first_whatever_its_label():
    mixed = dq.load("photographs", imbalance=10, groups="thirds", order=[*range(99, -1, -1)], n_max=40)
    data = told(train_it_yourself(mixed, STILL, ALT, components=4, most=20))
    counts = np.diff(data["starts"])
    assert counts[0] == 40 and (np.diff(counts) <= 0).all()
    assert data["group"] == sorted(data["group"]) and data["least"] == 10


def test_it_is_always_the_same(pool):
    first, second = (train_it_yourself(pool, STILL, ALT, components=4, test_images=1).page for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 6}, "multiple of four; got 6"),
        ({"most": 10}, "between the set's own imbalance, 10, and 250; got 10"),
        ({"most": 251}, "and 250; got 251"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_what_it_cannot_do_is_refused(pool, options, message):
    with pytest.raises(ValueError, match=message):
        train_it_yourself(pool, STILL, ALT, **options)


def test_pictures_and_empty_groups_are_refused(tiny):
    with pytest.raises(ValueError, match="load 'tiny' with a backbone"):
        train_it_yourself(tiny, STILL, ALT)
    with pytest.raises(ValueError, match="groups='imbalance-100'"):
        train_it_yourself(dq.load("photographs", imbalance=10, groups="shots"), STILL, ALT)
