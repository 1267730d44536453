"""Names that papermill injects and the notebook does not know are refused, and lists are read from text."""

import pytest

from dqroute.sweep.parameters import as_list, as_options, distinct, refuse_unknown

KNOWN = ["dataset", "epochs"]


def test_known_names_pass_and_so_does_a_notebook_without_papermill():
    refuse_unknown({}, KNOWN)
    refuse_unknown({"In": ["", "x = 1", "# Parameters\nepochs = 3\ndataset = 'digits'\n"]}, KNOWN)


def test_an_unknown_name_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="unknown parameter epoch, seed; this notebook takes dataset, epochs"):
        refuse_unknown({"In": ["", "# Parameters\nepoch = 3\nepochs = 2\nseed = 1\n"]}, KNOWN)


def test_only_the_injected_cell_is_looked_at():
    refuse_unknown({"In": ["", "epoch = 3", "# parameters of the plot\nwidth = 3"]}, KNOWN)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a, b", ["a", "b"]),
        ("dqroute", ["dqroute"]),
        ("0,1,2", [0, 1, 2]),
        ("-1", [-1]),
        ("", []),
        ("a,,b,", ["a", "b"]),
        (3, [3]),
        ("[0, 1]", [0, 1]),
        ('["a", "b"]', ["a", "b"]),
        ("[ride, dqroute]", ["ride", "dqroute"]),
        ([0, 1], [0, 1]),
        (("a", "b"), ["a", "b"]),
    ],
    ids=repr,
)
def test_as_list(value, expected):
    assert as_list(value) == expected


def test_a_list_must_name_something_and_nothing_twice():
    assert distinct("seeds", [0, 1]) == [0, 1]
    for wrong in ([], [0, 1, 0]):
        with pytest.raises(ValueError, match="seeds must name at least one and none twice"):
            distinct("seeds", wrong)


def test_options_are_a_dictionary_or_its_json():
    assert as_options({"size": 64}) == as_options('{"size": 64}') == {"size": 64}
    assert as_options({}) == {}
    for wrong in ("size=64", "[64]", 64, None):
        with pytest.raises(ValueError, match="options are written as JSON"):
            as_options(wrong)
