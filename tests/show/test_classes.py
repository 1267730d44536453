"""Every class has its mark, in the colour of its shot group."""

from dataclasses import replace

import pytest
import torch
from drawn import bars, legend_texts
from matplotlib.colors import same_color
from matplotlib.text import Text

from dqroute import show
from dqroute.core.long_tail import shot_groups
from dqroute.data.image_set import Split
from dqroute.show.classes import LEAST

COUNTS = torch.tensor([200, 150, 110, 80, 60, 45, 30, 22, 15, 12, 9, 6, 4, 2, 1, 1])


def test_class_counts_are_a_bar_a_class_in_the_groups_colours(tiny):
    figure = show.class_counts(tiny)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.get_xlabel() and "training images" in ax.get_ylabel() and ax.get_yscale() == "log"
    heights = {round(bar.get_x() + bar.get_width() / 2): bar for bar in bars(ax)}
    counts = tiny.counts.sort(descending=True).values.tolist()
    assert [round(heights[rank].get_height()) for rank in range(10)] == counts
    for rank, name in enumerate(["many"] * 4 + ["medium"] * 3 + ["few"] * 3):
        assert same_color(heights[rank].get_facecolor(), show.GROUP_COLOURS[name])
    assert legend_texts(figure.legends[0]) == ["many (4 classes)", "medium (3 classes)", "few (3 classes)"]


def test_a_class_of_one_picture_has_a_bar_and_the_legend_covers_none():
    figure = show.profile(COUNTS, shot_groups(COUNTS))
    figure.draw_without_rendering()
    (ax,), (legend,) = figure.axes, figure.legends
    heights = [bar.get_window_extent().intersection(bar.get_window_extent(), ax.bbox).height for bar in bars(ax)]
    assert len(heights) == 16 and min(heights) > 5
    assert not legend.get_window_extent().overlaps(ax.bbox)


def test_few_classes_are_named_below_their_bars(tiny):
    (ax,) = show.class_counts(tiny).axes
    order = tiny.counts.argsort(descending=True, stable=True)
    assert [label.get_text() for label in ax.get_xticklabels()] == [tiny.class_names[c] for c in order]


def test_profiles_of_different_sets_can_share_an_axis(tiny):
    low, high = (show.profile(counts, tiny.groups, top=500).axes[0] for counts in (tiny.counts, tiny.counts * 10))
    assert low.get_ylim() == high.get_ylim() == (LEAST, 500)


def test_by_class_is_a_point_a_class_in_its_groups_colour_and_shape(tiny):
    x, y = tiny.counts, torch.arange(10.0)
    panels = {"a": (x, y, tiny.groups), "b": (x, 2 * y, tiny.groups)}
    figure = show.by_class(panels, "images", "weight", xscale="log")
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["images", "images"] and figure.axes[0].get_ylabel() == "weight"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for ax, factor in zip(figure.axes, (1, 2), strict=True):
        assert ax.get_xscale() == "log"
        for line, name in zip(ax.lines, ("many", "medium", "few"), strict=True):
            members = list(tiny.groups[name])
            assert same_color(line.get_color(), show.GROUP_COLOURS[name])
            assert line.get_marker() == show.GROUP_MARKERS[name]
            assert list(line.get_xdata()) == x[members].tolist()
            assert list(line.get_ydata()) == (factor * y[members]).tolist()
    assert legend_texts(figure.legends[0]) == ["many", "medium", "few"]
    assert len(set(show.GROUP_MARKERS.values())) == 3


def test_accuracy_by_count_is_a_point_a_class_and_names_the_worst(trained, tiny):
    report = replace(trained[1].report(), per_class=[0.9, 0.8, None, 0.1, 1.0, 1.0, 1.0, 0.2, 0.95, 1.0])
    figure = show.accuracy_by_count(report, tiny, named=2)
    (ax,) = figure.axes
    many, medium, few = (list(zip(*line.get_data(), strict=True)) for line in ax.lines)
    assert many[0] == (40, pytest.approx(90)) and many[3][1] == pytest.approx(10)
    assert len(medium) == len(few) == 3 and few[0] == (tiny.counts[7], pytest.approx(20))
    assert [text.get_text().strip() for text in ax.texts] == ["3", "7"]
    assert "%" in ax.get_ylabel() and ax.get_xscale() == "log"


def test_names_of_the_worst_cover_neither_another_nor_a_point(trained, tiny):
    """Six of which nothing is recognised lie on one line, two of them on one point."""
    names = [f"an animal, {c}" for c in range(16)]
    train = Split(tiny.train.images[:1].expand(COUNTS.sum(), -1, -1, -1), torch.arange(16).repeat_interleave(COUNTS))
    data = replace(tiny, class_names=tuple(names), train=train, groups=shot_groups(COUNTS))
    report = replace(trained[1].report(), per_class=[0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, *[0.0] * 6])
    figure = show.accuracy_by_count(report, data)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    places = [Text.get_window_extent(name) for name in ax.texts]
    points = ax.transData.transform([point for line in ax.lines for point in zip(*line.get_data(), strict=True)])
    assert {name.get_text() for name in ax.texts} == set(names[-6:])
    assert all(place.count_overlaps(places) == 1 and not place.count_contains(points) for place in places)


def test_classes_of_which_none_was_judged_are_not_named(trained, tiny):
    report = replace(trained[1].report(), per_class=[0.5, *[None] * 9])
    assert [text.get_text() for text in show.accuracy_by_count(report, tiny).axes[0].texts] == ["0"]
