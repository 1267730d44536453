"""Figures that compute in the page: what is written into it. tests/visits moves them."""

import base64
import json

import numpy as np
import pytest
from bs4 import BeautifulSoup

from dqroute.show import embed, live, new_figure
from dqroute.show.style import GROUP_COLOURS

NAME = "train"


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    """One figure that does nothing, beside the real base."""
    for name in ("base.js", "base.css"):
        (tmp_path / name).write_bytes((live.FOLDER / name).read_bytes())
    (tmp_path / f"{NAME}.js").write_text(f"dqMoving.{NAME} = () => {{}};", encoding="utf-8")
    monkeypatch.setattr(live, "FOLDER", tmp_path)


def told(page):
    return json.loads(page.find("script", type="application/json").string)


@pytest.mark.parametrize("dtype", live.DTYPES)
def test_an_array_is_in_the_page_byte_for_byte_with_its_shape(dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    page = BeautifulSoup(embed(NAME, {"x": [values]}, "", "a")._repr_html_(), "html.parser")
    (array,) = told(page)["x"]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(array["base64"]), array["dtype"]).reshape(array["shape"]), values
    )


def test_numbers_of_numpy_are_numbers_and_words_may_look_like_a_script():
    words = "</script><!--<script>"
    page = embed(NAME, {"n": np.int64(3), "x": np.float32(0.5), "words": words}, "", "a")._repr_html_()
    inside = page.partition('<script type="application/json">')[2].partition("</script>")[0]
    assert "<" not in inside and json.loads(inside) == {"n": 3, "x": 0.5, "words": words}


@pytest.mark.parametrize(
    ("wrong", "message"), [(np.zeros(1), "int8.*array of float64"), ({1, 2}, "arrays of int8.*got set")]
)
def test_what_a_page_cannot_hold_is_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        embed(NAME, {"x": wrong}, "", "a")


@pytest.mark.parametrize("name", ["base", "tarin", "../live"])
def test_an_unknown_figure_is_an_error_that_lists_those_there_are(name):
    with pytest.raises(ValueError, match=f"there are {NAME}$"):
        embed(name, {}, "", "a")


def test_the_finding_names_the_figure_and_its_still_picture():
    still, (ax,) = new_figure()
    ax.plot([1, 2])
    page = BeautifulSoup(embed(NAME, {}, still, 'rare < "hard"')._repr_html_(), "html.parser")
    root = page.find(class_="dq-moving")
    assert (root["role"], root["aria-label"]) == ("figure", 'rare < "hard"')
    assert root.find(class_="dq-still").svg["aria-label"] == 'rare < "hard"'


def test_a_figure_is_always_the_same_and_two_have_two_names():
    pages = [embed(NAME, {"x": x}, "", "a")._repr_html_() for x in (1, 1, 2)]
    assert pages[0] == pages[1]
    ids = [BeautifulSoup(page, "html.parser").find(class_="dq-moving")["id"] for page in pages]
    assert ids[0] != ids[2] and f'"{ids[0]}"' in pages[0].rpartition("dq.start")[2]


def test_it_asks_nobody_for_anything():
    page = embed(NAME, {}, "", "a")._repr_html_()
    assert "http" not in page and "src=" not in page


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [live.LIGHT, live.DARK])
def test_words_stand_out_from_the_ground(palette):
    """WCAG AA, on the canvas, too, where no checker looks; the book's dark ground is #14181e."""
    for name in ("ink", "quiet", "accent"):
        light, dark = sorted((luminance(palette[name]), luminance(palette["paper"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_groups_have_the_books_colours():
    assert {name: live.LIGHT[name] for name in GROUP_COLOURS} == GROUP_COLOURS
