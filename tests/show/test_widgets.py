"""Moving parts: one table, moved here by ipywidgets in a real kernel, and in tests/test_book.py in a built page."""

import json
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient

from dqroute import show as plots
from dqroute.show import widgets
from dqroute.show.widgets import Choice, Slider, moving, svg

TWO = {"share": Slider("share, %", [10, 50, 90], start=50), "group": Choice("group", ["many", "few"])}


def words(share, group):
    return f"<b>{share} of {group}</b>", f"{group} < {share}"


def figure():
    drawn, (ax,) = plots.new_figure()
    ax.bar(range(3), [1, 2, 3])
    ax.plot(range(3), range(3), marker="o")
    ax.set(xlabel="x, m", ylabel="y, s")
    return drawn


def test_every_position_has_its_own_frame():
    table = moving(words, **TWO)
    assert len(table.frames) == 6
    for i, share in enumerate([10, 50, 90]):
        for j, group in enumerate(["many", "few"]):
            assert table.frames[table.frame_at([i, j])] == words(share, group)
    assert table.frames[table.start] == words(50, "many")


def test_the_live_controls_move_the_drawing():
    table = moving(words, **TWO)
    slider, choice, picture, answer = table.live.children
    assert picture.value == "<b>50 of many</b>"
    slider.value, choice.value = 2, 1
    assert picture.value == "<b>90 of few</b>" and answer.value == "few &lt; 90"


def test_the_page_has_labelled_controls_at_their_start_and_the_same_table():
    table = moving(words, **TWO)
    page = BeautifulSoup(table.static, "html.parser")
    slider, choice = page.find("input"), page.find("select")
    assert [page.find("label", attrs={"for": c["id"]}).text for c in (slider, choice)] == ["share, %", "group"]
    assert (slider["value"], slider["max"], slider["aria-valuetext"]) == ("1", "2", "50")
    assert [option.text for option in choice.find_all("option")] == ["many", "few"]
    assert page.find(class_="moving-drawing").text == "50 of many"
    assert page.find(class_="moving-answer").text == "many < 50"
    data = json.loads(page.find("script", type="application/json").string)
    assert data == {"names": [["10", "50", "90"], ["many", "few"]], "frames": [list(frame) for frame in table.frames]}


def test_two_tables_have_two_names_and_one_table_always_the_same():
    pages = [moving(words, share=Slider("s", [1, 2]), group=Choice("g", last)).static for last in ("ab", "ab", "ac")]
    assert pages[0] == pages[1]
    names = [BeautifulSoup(page, "html.parser").find(class_="moving")["id"] for page in pages]
    assert names[0] != names[2]


def test_no_text_can_end_the_script_early():
    page = moving(lambda s: ("</script><b>x</b>", "</script>"), s=Slider("</label>", [1, 2])).static
    frames = json.loads(BeautifulSoup(page, "html.parser").find("script", type="application/json").string)["frames"]
    assert frames == [["</script><b>x</b>", "</script>"]] * 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": [1]}, "at least two values"),
        ({"values": [1, 2], "start": 3}, "cannot start at 3"),
        ({"values": [1, 2], "names": ["one"]}, "2 values and 1 names"),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Slider("share", **wrong)


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
        "from dqroute.show.widgets import Slider, moving\n"
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
    assert widgets.SCRIPT.count("NAME") == 1


def test_whole_numbers_and_truths_are_shown_whole():
    assert Choice("n", [1234567, 1234568]).shown == ["1234567", "1234568"]
    assert Choice("on", [False, True]).shown == ["False", "True"]
    assert Choice("share", [0.5, 1.0]).shown == ["0.5", "1"]


def test_a_sentence_may_open_what_looks_like_a_script():
    """After "<!--<script" a browser passes over the script's end."""
    page = moving(lambda a: ("<svg></svg>", f"class <!--<script> {a}"), a=Choice("a", [1, 2])).static
    inside = page.partition('<script type="application/json">')[2].partition("</script>")[0]
    assert "<" not in inside and json.loads(inside)["frames"][0][1] == "class <!--<script> 1"
