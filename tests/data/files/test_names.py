"""Packed names are the names that went in, in a fraction of the memory."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqroute.data.files.names import Names

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


@given(texts, st.data())
def test_what_went_in_comes_out(names, data):
    packed = Names(names)
    assert list(packed) == names and len(packed) == len(names)
    assert [packed[i] for i in range(-len(names), len(names))] == names + names
    start, stop = (data.draw(st.integers(-3, len(names) + 3)) for _ in range(2))
    assert list(packed[start:stop]) == names[start:stop]
    if names:
        chosen = data.draw(st.lists(st.integers(0, len(names) - 1)))
        assert list(packed.take(chosen)) == [names[i] for i in chosen]


@given(texts)
def test_the_first_name_that_comes_twice(names):
    pairs = [(names.index(name), i) for i, name in enumerate(names) if name in names[:i]]
    found = Names(names).twice()
    assert (found is None) == (not pairs)
    if found is not None:
        first, second = found
        assert first < second and names[first] == names[second] and second == min(i for _, i in pairs)


def test_equal_hashes_of_different_names_are_not_taken_for_one_name(monkeypatch):
    monkeypatch.setattr("builtins.hash", lambda _: 7)
    assert Names(["a", "b", "c"]).twice() is None


def test_bytes_of_no_script_survive():
    """A file name on Linux is any bytes; Python hands what is no UTF-8 through as surrogates."""
    assert list(Names([b"caf\xe9.jpg"]).raw()) == [b"caf\xe9.jpg"]
    assert list(Names(Names([b"caf\xe9.jpg"]))) == ["caf\udce9.jpg"]


def test_there_is_nothing_beyond_the_ends():
    for index in (2, -3):
        with pytest.raises(IndexError):
            Names(["a", "b"])[index]


def test_half_a_million_names_take_the_bytes_of_their_letters_and_eight_more_each():
    names = Names(f"data_256/a/airfield/{index:08}.jpg" for index in range(500_000))
    held = sum(map(sys.getsizeof, vars(names).values()))
    assert held < 1.2 * 500_000 * (32 + 8)
