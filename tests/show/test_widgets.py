"""Moving parts: one table, moved here by ipywidgets in a real kernel, and in tests/visits in a built page."""

import base64
import io
import json
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from PIL import Image

from dqroute import show
from dqroute.show import Choice, Slider, hover, moving, svg

TWO = {"share": Slider("share, %", [10, 50, 90], start=50), "group": Choice("group", ["many", "few"])}


def words(share, group):
    return f"<b>{share} of {group}</b>", f"{group} < {share}"


def figure():
    drawn, (ax,) = show.new_figure()
    ax.bar(range(3), [1, 2, 3])
    ax.plot(range(3), range(3), marker="o")
    ax.set(xlabel="x, m", ylabel="y, s")
    return drawn


def test_every_position_has_its_own_frame():
    table = moving(words, **TWO)
    assert len(table.frames) == 6
    for i, share in enumerate([10, 50, 90]):
        for j, group in enumerate(["many", "few"]):
            assert table.frame_at([i, j]) == words(share, group)


def test_the_live_controls_move_the_drawing():
    table = moving(words, **TWO)
    slider, choice, picture, answer, _ = table.live.children
    assert picture.value == "<b>50 of many</b>"
    slider.value, choice.value = 2, 1
    assert picture.value == "<b>90 of few</b>" and answer.value == "few &lt; 90"


def test_the_page_has_the_same_table_and_its_start_as_a_still_picture():
    table = moving(words, **TWO)
    data, page = told(table)
    assert [(c["label"], c["start"], c["slider"]) for c in data["controls"]] == [
        ("share, %", 1, True),
        ("group", 0, False),
    ]
    assert [c["names"] for c in data["controls"]] == [["10", "50", "90"], ["many", "few"]]
    assert data["frames"] == [list(frame) for frame in table.frames] and not data["points"]
    assert page.find(class_="dq-still").text == "50 of manymany < 50"


def test_two_tables_have_two_names_and_one_table_always_the_same():
    pages = [moving(words, share=Slider("s", [1, 2]), group=Choice("g", last)).static for last in ("ab", "ab", "ac")]
    assert pages[0] == pages[1]
    names = [BeautifulSoup(page, "html.parser").find(class_="dq-moving")["id"] for page in pages]
    assert names[0] != names[2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": [1]}, "at least two values"),
        ({"values": [1, 2], "start": 3}, "cannot start at 3"),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Slider("share", **wrong)


def test_its_text_is_short_whatever_the_frames_hold():
    table = moving(words, **TWO)
    assert repr(table) == "<6 frames by share, % × group>" and repr(made()) == "<3 frames by point>"
    assert table._repr_mimebundle_()["text/plain"] == repr(table)


def test_nothing_to_move_is_refused():
    with pytest.raises(ValueError, match="nothing to move"):
        moving(words)


def test_a_figure_becomes_a_small_drawing_without_strange_ids_and_the_same_each_time():
    before = plt.get_fignums()
    first, second = (svg(figure(), "1 < 2 & 3") for _ in range(2))
    assert first == second and len(first) < 15_000
    assert plt.get_fignums() == before
    drawing = ElementTree.fromstring(first)
    assert drawing.get("role") == "img" and drawing.get("aria-label") == "1 < 2 & 3"
    assert drawing.get("width") is None and drawing.get("viewBox")
    assert "x, m" in "".join(drawing.itertext())
    ids = [element.get("id") for element in drawing.iter() if element.get("id")]
    assert ids and all(f"#{name}" in first for name in ids)
    assert "<style" not in first and "http" not in first.replace("http://www.w3.org/", "")


def test_in_a_kernel_one_output_holds_the_widget_and_the_page():
    source = (
        "from dqroute.show import Slider, moving\n"
        "table = moving(lambda a: (f'<b>{a}</b>', f'a is {a}'), a=Slider('a', [1, 2]))\n"
        "table"
    )
    move = "table.live.children[0].value = 1\nprint(table.live.children[1].value)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (source, move)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (shown,), (moved,) = (cell.outputs for cell in notebook.cells)
    assert {"application/vnd.jupyter.widget-view+json", "text/html"} <= shown.data.keys()
    assert shown.data["text/html"].count("<script>") == 1
    assert moved.text == "<b>2</b>\n"


def test_whole_numbers_and_truths_are_shown_whole():
    assert Choice("n", [1234567, 1234568]).shown == ["1234567", "1234568"]
    assert Choice("on", [False, True]).shown == ["False", "True"]
    assert Choice("share", [0.5, 1.0]).shown == ["0.5", "1"]


@pytest.mark.parametrize("words", ["class <!--<script> 1", "</script>", "{{data}}"])
def test_a_sentence_may_open_or_end_what_looks_like_a_script(words):
    """After "<!--<script" a browser passes over the script's end."""
    page = moving(lambda a: (f"<svg></svg>{words}", words), a=Choice("</label>", [words, "b"])).static
    inside = page.partition('<script type="application/json">')[2].partition("</script>")[0]
    assert "<" not in inside and json.loads(inside)["frames"][0] == [f"<svg></svg>{words}", words]


PLACES = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 4.0]])
IMAGES = torch.arange(3 * 3 * 4 * 4).reshape(3, 3, 4, 4).to(torch.uint8)
SENTENCES = ["first", 'second "quoted" & <b>', "third </script>"]


def made(places=PLACES, images=IMAGES, sentences=SENTENCES):
    figure, ax = plt.subplots(figsize=(4, 2), layout="constrained")
    ax.plot(*PLACES.T.tolist(), "o", gid="points")
    ax.set(xlabel="x", ylabel="y")
    return hover(figure, places, images, sentences, "three points", "point")


def told(table):
    soup = BeautifulSoup(table.static, "html.parser")
    return json.loads(soup.find("script", type="application/json").text), soup


def test_points_lie_where_the_drawing_has_them():
    """The markers of the SVG stand in its own coordinates; as shares of its size they are the points' places."""
    data, soup = told(made())
    width, height = (float(v) for v in soup.svg["viewbox"].split()[2:])
    drawn = [(float(u["x"]) / width, float(u["y"]) / height) for u in soup.svg.find_all("use", style=True)]
    found = data["points"]
    for place in found:
        assert min(np.hypot(place[0] - x, place[1] - y) for x, y in drawn) < 0.005
    assert found[0][0] < found[2][0] < found[1][0] and found[0][1] > found[1][1] > found[2][1]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_point_holds_its_own_picture_and_sentence(channels):
    data, soup = told(made(images=IMAGES[:, :channels]))
    assert [sentence for _, sentence in data["frames"]] == SENTENCES
    for (drawing, sentence), image in zip(data["frames"], IMAGES, strict=True):
        shown = BeautifulSoup(drawing, "html.parser").img
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["src"].partition(",")[2]))))
        np.testing.assert_array_equal(pixels, image[:channels].permute(1, 2, 0).squeeze(-1).numpy())
        assert shown["alt"] == sentence
    assert soup.select_one(".dq-still p").text == "first"
    assert soup.svg["aria-label"] == "three points"
    assert data["controls"] == [{"label": "point", "names": ["1", "2", "3"], "start": 0, "slider": True}]


def test_two_figures_differ_in_name_and_one_is_always_the_same():
    pages = [told(made(sentences=words))[1].find(class_="dq-moving")["id"] for words in (SENTENCES, SENTENCES, "abc")]
    assert pages[0] == pages[1] != pages[2]


def test_a_figure_that_is_pointed_at_is_a_piece_of_page_in_a_running_notebook_too():
    """A widget would leave the pointer without an answer."""
    assert made()._repr_mimebundle_().keys() == {"text/plain", "text/html"}


@pytest.mark.parametrize("wrong", [{"sentences": ["a"]}, {"images": IMAGES[:2]}, {"places": PLACES[:0]}])
def test_points_without_image_or_sentence_are_refused(wrong):
    with pytest.raises(ValueError, match="each with an image and a sentence"):
        made(**wrong)
