"""Colours, dashes and legends: told apart on a screen and in grey print."""

import matplotlib
import pandas as pd
import pytest
import torch

from dqroute import show
from dqroute.measures.curves import coverage_curve
from dqroute.show import style


def luminance(colour):
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_stay_in_order_in_grey_print():
    for colours in (list(show.GROUP_COLOURS.values()), list(show.EXPERT_COLOURS)):
        greys = [luminance(colour) for colour in colours]
        assert greys == sorted(greys) and min(b - a for a, b in zip(greys, greys[1:], strict=False)) > 0.05


def test_methods_differ_in_colour_and_keep_theirs():
    styles = show.method_styles(["a", "b", "a", "c", "d", "e", "f", "g"])
    assert list(styles) == list("abcdefg")
    assert len({style["color"] for style in styles.values()}) == 7
    assert styles["a"] == show.method_styles(["a", "b"])["a"]
    among = show.method_styles(["a", "dqroute", "b"])
    assert among["dqroute"] == show.method_styles(["dqroute"])["dqroute"]
    assert len({str(style["color"]) for style in among.values()}) == 3


@pytest.mark.parametrize(
    "names, columns", [(["a", "b", "c", "d"], 4), ([f"expert {k}, consensus" for k in range(4)], 2)]
)
def test_a_legend_is_no_wider_than_its_figure(names, columns):
    figure = show.lines({name: ([1, 2], [3, 4]) for name in names}, "x", "y")
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert len({round(text.get_window_extent().x0) for text in figure.legends[0].get_texts()}) == columns


def test_every_figure_is_no_wider_than_a_phone_can_show():
    curve = coverage_curve(torch.tensor([0.9, 0.8]), torch.tensor([True, False]))
    drawn = [
        show.lines({"a": ([1, 2], [3, 4])}, "x", "y"),
        show.accuracy_by_coverage({"test": curve}),
        show.differences({"a": pd.DataFrame({"few": [1.0, 2.0]})}, "points"),
    ]
    assert [figure.get_figwidth() for figure in drawn] == [style.WIDTH] * len(drawn)


def test_numbers_on_a_logarithmic_axis_are_written_out():
    figure, (ax,) = style.new_figure()
    ax.plot([4, 80], [0, 1])
    ax.set_xscale("log")
    style.plain_numbers(ax)
    figure.canvas.draw()
    said = {label.get_text() for label in ax.get_xticklabels(which="both")}
    assert {"4", "10", "20"} <= said and not any("$" in text or "e" in text for text in said)
