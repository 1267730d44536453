"""The registry of image sets and what every one of them promises."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from dqroute.core.long_tail import shot_groups
from dqroute.data import DATA_SETS, Augmentation, ImageSet, Split, load


def tiny(**changes):
    """An image set of three 2x2 images, with parts replaced."""
    parts = {
        "name": "tiny",
        "train": Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2])),
        "test": Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2])),
        "class_names": ("a", "b", "c"),
        "groups": shot_groups([1, 1, 1]),
        "augmentation": Augmentation(),
        "identity": {},
    }
    return ImageSet(**parts | changes)


@pytest.mark.parametrize("name", ["glyphs", "digits"])
def test_identity_holds_everything_that_was_asked_and_is_json(name):
    options = {"imbalance": 5, "seed": 3, "val": 0.2, "n_max": 40}
    identity = load(name, **options).identity
    assert {key: identity[key] for key in options} == options
    assert identity["name"] == name
    assert isinstance(identity["version"], int)
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("change", [{"seed": 1}, {"imbalance": 4}, {"val": 0.3}, {"n_max": 60}])
def test_identity_and_images_change_together(change):
    base = {"imbalance": 5, "seed": 0, "val": 0.2, "n_max": 70}
    a, b = load("digits", **base), load("digits", **base | change)
    assert a.identity != b.identity
    assert a.fingerprint() != b.fingerprint()


def test_equal_numbers_of_different_kinds_are_one_identity():
    a = load("digits", imbalance=5, n_max=70, val=np.int64(3), seed=np.int64(1))
    b = load("digits", imbalance=5.0, n_max=70, val=3, seed=1)
    assert json.dumps(a.identity) == json.dumps(b.identity)


def test_a_new_set_is_one_function_and_one_line(monkeypatch):
    def toy(*, imbalance=None, seed=0, groups="auto", val=None, pixels=2):
        return tiny(identity={"pixels": pixels, "imbalance": imbalance})

    monkeypatch.setitem(DATA_SETS, "toy", toy)
    assert load("toy", pixels=7).identity == {"pixels": 7, "imbalance": None}
    assert load("toy", imbalance=3).identity["imbalance"] == 3


def test_unknown_names_and_options_list_the_valid_ones():
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'.*; the valid ones are glyphs, digits, cifar10, cifar100"
    ):
        load("mnist")
    with pytest.raises(
        TypeError,
        match="digits has no option colour; its options are .*val, backbone, components, views, n_max",
    ):
        load("digits", colour=True)
    with pytest.raises(TypeError, match="glyphs has no option root"):
        load("glyphs", root="data")
    for name in ("folder:here", "list:here", "places-lt:here"):
        with pytest.raises(ValueError, match=f"'{name}' names its folder; leave root out"):
            load(name, root="there")
    with pytest.raises(TypeError, match="digits has no option root"):
        load("digits:here")


@pytest.mark.parametrize("imbalance", [0.5, 0, -100, float("nan"), float("inf"), "100"])
def test_imbalance_out_of_range(imbalance):
    with pytest.raises(ValueError, match="number from 1"):
        load("digits", imbalance=imbalance)


@pytest.mark.parametrize("seed", [0.5, "0", None, True])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="a seed is a whole number"):
        load("digits", seed=seed)


def test_bad_groups_and_val_reach_the_user_in_words():
    with pytest.raises(ValueError, match="imbalance-100"):
        load("digits", groups="fifths")
    with pytest.raises(ValueError, match="a fraction between 0 and 1"):
        load("digits", val=1.0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("trap", "unknown data set 'trap'.*; and there is no folder and no table 'trap' in "),
        ("labels.xlsx", "labels.xlsx is a spreadsheet, of which no kind is read here; save it as CSV"),
        (pd.DataFrame({"path": ["a.png"]}), r"got <DataFrame>: write it with df.to_csv\(FILE, index=False\)"),
    ],
)
def test_what_is_no_data_set_is_told_the_way_on(asked, said):
    with pytest.raises(ValueError, match=said):
        load(asked)
