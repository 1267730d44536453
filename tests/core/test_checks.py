"""An unknown name is answered with the likely one and with all there are."""

import numpy as np
import pytest
import torch

from dqroute.core.checks import checked_range, checked_whole, choose, meant, shown


def test_a_valid_name_is_returned():
    assert choose("fruit", "pear", ("apple", "pear")) == "pear"


def test_an_unknown_name_lists_the_valid_ones_and_guesses():
    with pytest.raises(ValueError, match=r"unknown fruit 'aple' \(did you mean 'apple'\?\).*apple, pear"):
        choose("fruit", "aple", ("apple", "pear"))


def test_no_guess_where_nothing_is_close():
    with pytest.raises(ValueError, match="unknown fruit 'zzz'; the valid ones are apple, pear") as caught:
        choose("fruit", "zzz", iter(["apple", "pear"]))
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, ""])
def test_what_is_no_name_at_all_is_refused_with_the_same_message(name):
    with pytest.raises(ValueError, match="the valid ones are apple"):
        choose("fruit", name, ["apple"])


@pytest.mark.parametrize("value", [0, 1.5, "3", True, None])
def test_what_is_no_whole_number_from_there_on_is_refused_by_name(value):
    with pytest.raises(ValueError, match="experts must be a whole number of at least 1"):
        checked_whole("experts", value, 1)
    assert checked_whole("experts", np.int64(3), 1) == 3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.2", r"share must be a number \(not text\) between 0\.01 and 0\.9; got '0\.2'$"),
        (None, "share must be a number between .*; got None$"),
        (True, "got True$"),
        (torch.zeros(9), "share must be a number .*; got <Tensor>$"),
        (20, r"share must lie between 0\.01 and 0\.9; got 20 \(did you mean 0\.2\?\)$"),
        (95, "got 95$"),
        (float("nan"), "share must be a number .*; got nan$"),
        (-3, "got -3$"),
    ],
)
def test_what_is_no_number_is_told_from_what_is_out_of_range(value, said):
    with pytest.raises(ValueError, match=said):
        checked_range("share", value, 0.01, 0.9)
    assert checked_range("share", np.float32(0.5), 0.01, 0.9) == 0.5


@pytest.mark.parametrize("name", ["Logit_Adjustment", "logit-ajustment", "LOGIT-ADJUSTMENT"])
def test_capitals_and_underscores_are_no_other_name(name):
    assert meant(name, ["ride", "logit-adjustment"]) == " (did you mean 'logit-adjustment'?)"


@pytest.mark.parametrize("name", [3, None, "", [], torch.zeros(3), np.array(["apple"])], ids=repr)
def test_of_what_is_no_text_nothing_is_near(name):
    assert meant(name, ["apple"]) == ""
    with pytest.raises(ValueError, match="the valid ones are apple"):
        choose("fruit", name, ["apple"])


def test_a_value_is_shown_short_and_a_thing_by_its_kind():
    assert shown("a") == "'a'" and shown(torch.zeros(9, 9)) == "<Tensor>" and shown(dict) == "<dict>"
    assert len(shown("x" * 1000)) == 80 and shown([10**9999]) == "a number of thousands of digits"
