"""Names that papermill injects and the notebook does not know are refused, and lists are read from text."""

import pytest

from dqroute.sweep.parameters import as_list, as_method, as_options, distinct, refuse_unknown

SET = 'dataset = "glyphs"  # a name\nepochs = None'


def test_known_names_pass_and_so_does_a_notebook_without_papermill():
    refuse_unknown({})
    refuse_unknown({"In": ["", "x = 1", SET, "# Parameters\nepochs = 3\ndataset = 'digits'\n", "y = 2"]})


def test_an_unknown_name_is_refused_with_the_valid_ones():
    message = r"unknown parameter 'epoch' \(did you mean 'epochs'\?\); the valid ones are dataset, epochs"
    with pytest.raises(ValueError, match=message):
        refuse_unknown({"In": ["", "x = 1", SET, "# Parameters\nepochs = 2\nepoch = 3\n"]})


def test_only_the_injected_cell_is_looked_at():
    refuse_unknown({"In": ["", SET, "epoch = 3", "# parameters of the plot\nwidth = 3"]})


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
    with pytest.raises(
        ValueError, match="""columns are written as JSON, such as '{"path": "Datei", "label": "Art"}'; got"""
    ):
        as_options("Datei,Art", "columns")


def test_a_method_with_options():
    assert as_method("dqroute alpha=0.3 judge=training") == ("dqroute", {"alpha": 0.3, "judge": "training"})
    assert as_method("ride") == ("ride", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dqroutes", "unknown method 'dqroutes' .did you mean 'dqroute'"),
        ("dqroute alfa=1", "unknown option of dqroute 'alfa' .did you mean 'alpha'"),
        ("dqroute alpha", "written name=value"),
        ("", "unknown method ''"),
    ],
)
def test_a_method_that_is_not_there_is_named(text, said):
    with pytest.raises(ValueError, match=said):
        as_method(text)
