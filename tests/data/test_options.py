"""What is given by keyword: seeds are whole numbers of any kind, flags True or False, names those that there are."""

import inspect
import os

import numpy as np
import pytest
import torch

from dqroute.data import DATA_SETS
from dqroute.data.options import KINDS, check_kinds, checked_seed, names_checked


@pytest.mark.parametrize("seed", [0, 7, np.int64(3)], ids=repr)
def test_a_whole_number_is_a_seed_and_comes_back_plain(seed):
    assert checked_seed(seed) == seed and type(checked_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, 0.0, 1.5, "0", None, True], ids=repr)
def test_anything_else_is_no_seed(seed):
    with pytest.raises(ValueError, match="a seed is a whole number from 0 and below 2..63; got"):
        checked_seed(seed)


@names_checked
def painted(wall, colour="red", *, quickly: bool = False, twice: bool | None = None):
    return wall, colour, quickly, twice, torch.is_inference_mode_enabled()


@pytest.mark.parametrize("value", ["no", "yes", "", 0, 1, 1.0, [], None], ids=repr)
def test_what_is_neither_true_nor_false_is_no_flag(value):
    with pytest.raises(ValueError, match="quickly is True or False; got"):
        painted("north", quickly=value)
    if value is not None:
        with pytest.raises(ValueError, match="twice is True, False or None; got"):
            painted("north", twice=value)


def test_flags_of_any_kind_are_taken():
    assert painted("north", quickly=np.bool_(True), twice=torch.tensor(False))[2:4] == (True, False)
    assert painted("north", twice=None)[3] is None
    with torch.inference_mode():
        assert painted("north")[4] is False


def test_what_wants_its_name_says_so():
    with pytest.raises(
        TypeError, match="painted takes wall and colour, and by name quickly=, twice=; got 3 without a n"
    ):
        painted("north", "blue", True)


def test_the_kinds_of_every_sets_paths_flags_and_columns_are_known():
    """A type written in another way would be passed over."""
    for function in DATA_SETS.values():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name in ("root", "images", "lists", "columns", "group_by", "flip", "skip_damaged", "download"):
                assert parameter.annotation in KINDS
                with pytest.raises(ValueError, match=f"{parameter.name} is .*; got <object>"):
                    check_kinds([parameter], {parameter.name: object()})
                kind = os.curdir if "Path" in parameter.annotation else parameter.default
                check_kinds([parameter], {parameter.name: kind})
