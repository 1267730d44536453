"""Every figure draws on real runs, names its axes, and keeps the fixed colours."""

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import same_color, to_hex
from matplotlib.markers import MarkerStyle
from matplotlib.offsetbox import AnnotationBbox

import dqroute as dq
from dqroute import show as plots
from dqroute.core.coverage import coverage_curve
from dqroute.core.long_tail import shot_groups
from dqroute.core.tradeoff import Point
from dqroute.data.image_set import ImageSet, Split
from dqroute.runs.explain import Explanation, Opinion
from dqroute.runs.tables import accuracies, half_interval


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed after each test."""
    assert matplotlib.get_backend().lower() == "agg"
    yield
    plt.close("all")


def bars(ax):
    return [patch for patch in ax.patches if patch.get_width() and patch.get_height()]


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_class_counts_are_a_bar_a_class_in_the_groups_colours(tiny):
    figure = plots.class_counts(tiny)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.get_xlabel() and "training images" in ax.get_ylabel() and ax.get_yscale() == "log"
    heights = {round(bar.get_x() + bar.get_width() / 2): bar for bar in bars(ax)}
    counts = tiny.counts.sort(descending=True).values.tolist()
    assert [round(heights[rank].get_height()) for rank in range(10)] == counts
    for rank, name in enumerate(["many"] * 4 + ["medium"] * 3 + ["few"] * 3):
        assert same_color(heights[rank].get_facecolor(), plots.GROUP_COLOURS[name])
    assert legend_texts(ax.get_legend()) == ["many (4 classes)", "medium (3 classes)", "few (3 classes)"]


def test_examples_show_every_group_in_its_colour(tiny):
    figure = plots.examples(tiny, per_group=4)
    figure.canvas.draw()
    assert [ax.get_xlabel() for ax in figure.axes] == ["many", "medium", "few"]
    for ax, name in zip(figure.axes, ("many", "medium", "few"), strict=True):
        assert ax.images[0].get_array().shape[:2] == (16, 16)
        assert all(same_color(spine.get_edgecolor(), plots.GROUP_COLOURS[name]) for spine in ax.spines.values())


def test_examples_are_the_same_by_seed_and_take_colour_images(tiny):
    pictures = [plots.examples(tiny, seed=seed).axes[0].images[0].get_array() for seed in (0, 0, 1)]
    assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()
    colour = replace(
        tiny,
        train=Split(tiny.train.images.repeat(1, 3, 1, 1), tiny.train.labels),
        test=Split(tiny.test.images.repeat(1, 3, 1, 1), tiny.test.labels),
        val=None,
    )
    assert plots.examples(colour).axes[0].images[0].get_array().shape[2] == 3


def test_examples_of_a_set_with_an_empty_group(tiny):
    """As the rule "shots" leaves CIFAR-10-LT; here no class has more than 100 images."""
    empty = ImageSet(**(vars(tiny) | {"groups": shot_groups(tiny.counts, "shots")}))
    assert empty.groups.many == ()
    plots.class_counts(empty)
    plots.examples(empty)


def test_examples_in_an_odd_number(tiny):
    figure = plots.examples(tiny, per_group=5)
    assert [image.get_array().shape for ax in figure.axes for image in ax.images] == [(16, 24)] * 3


def test_training_curves_are_a_line_a_run_with_one_entry_a_method(trained):
    figure = plots.training_curves(trained)
    figure.canvas.draw()
    loss, accuracy = figure.axes
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    assert "loss" in loss.get_ylabel() and "%" in accuracy.get_ylabel()
    assert len(loss.lines) == len(accuracy.lines) == len(trained)
    assert legend_texts(figure.legends[0]) == ["cross-entropy", "dqroute"]
    assert list(loss.lines[1].get_ydata()) == [record["loss"] for record in trained[1].epochs]
    assert list(accuracy.lines[0].get_ydata()) == [100 * record["accuracy"] for record in trained[0].epochs]
    # Seeds of a method share its colour; methods do not.
    colours = [line.get_color() for line in loss.lines]
    assert colours[0] == colours[2] != colours[1] == colours[3]


def test_accuracies_are_a_bar_a_method_and_group(trained):
    figure = plots.accuracy_by_group(trained)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.get_ylabel() == "test accuracy, %"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["overall", "many", "medium", "few"]
    assert legend_texts(ax.get_legend()) == ["cross-entropy", "dqroute"]
    means = accuracies(trained).groupby(["method", "group"])["accuracy"].mean()
    for container, method in zip(ax.containers, ("cross-entropy", "dqroute"), strict=True):
        expected = [means[method, group] for group in ("overall", "many", "medium", "few")]
        assert [bar.get_height() for bar in container] == pytest.approx(expected)


def test_bars_of_methods_are_hatched_alike_in_the_figure_and_its_legend(trained):
    (ax,) = plots.accuracy_by_group(trained[1::-1]).axes
    wanted = list(plots.method_hatches(["dqroute", "cross-entropy"]).values())
    assert wanted[0] == "" and wanted[1]
    assert [{bar.get_hatch() or "" for bar in container} for container in ax.containers] == [{h} for h in wanted]
    assert [entry.get_hatch() or "" for entry in ax.get_legend().get_patches()] == wanted


def test_the_lines_on_the_bars_span_the_tables_interval(trained):
    runs = [run for run in trained if run.method == "dqroute"]
    (ax,) = plots.accuracy_by_group(runs).axes
    values: pd.Series = accuracies(runs).query("group == 'overall'")["accuracy"]
    low, high = (float(end) for end in (min(ax.lines[0].get_ydata()), max(ax.lines[0].get_ydata())))
    assert values.nunique() > 1
    assert (high - low) / 2 == pytest.approx(half_interval(values), rel=0.01)


def test_one_seed_draws_no_interval(trained):
    (ax,) = plots.accuracy_by_group(trained[:2]).axes
    assert not [line for line in ax.lines if pd.notna(line.get_ydata()).any() and len(line.get_ydata()) > 0]


def test_expert_weights_fill_each_bar_in_the_experts_colours(trained):
    reports = [run.report() for run in trained if run.method == "dqroute"]
    figure = plots.expert_weights(reports)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert "%" in ax.get_xlabel()
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{g}-shot images" for g in ("many", "medium", "few")
    ]
    assert legend_texts(figure.legends[0]) == ["expert 1", "expert 2", "expert 3"]
    drawn = torch.tensor([float(bar.get_width()) for bar in bars(ax)]).view(3, 3)
    torch.testing.assert_close(drawn.sum(dim=1), torch.full((3,), 100.0))
    expected = torch.tensor([report.expert_weights["few"] for report in reports]).mean(dim=0) * 100
    torch.testing.assert_close(drawn[2], expected)
    for k, bar in enumerate(bars(ax)):
        assert same_color(bar.get_facecolor(), plots.EXPERT_COLOURS[k % 3])


def test_expert_weights_leave_out_a_group_without_images(trained):
    report = trained[1].report()
    empty = replace(report, expert_weights=report.expert_weights | {"many": None})
    (ax,) = plots.expert_weights([empty]).axes
    assert len(bars(ax)) == 6


def luminance(colour):
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_profiles_of_different_sets_can_share_an_axis(tiny):
    low, high = (plots.profile(counts, tiny.groups, top=500).axes[0] for counts in (tiny.counts, tiny.counts * 10))
    assert low.get_ylim() == high.get_ylim() == (1, 500)


def test_by_class_is_a_point_a_class_in_its_groups_colour_and_shape(tiny):
    x, y = tiny.counts, torch.arange(10.0)
    panels = {"a": (x, y, tiny.groups), "b": (x, 2 * y, tiny.groups)}
    figure = plots.by_class(panels, "images", "weight", xscale="log")
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["images", "images"] and figure.axes[0].get_ylabel() == "weight"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for ax, factor in zip(figure.axes, (1, 2), strict=True):
        assert ax.get_xscale() == "log"
        for line, name in zip(ax.lines, ("many", "medium", "few"), strict=True):
            members = list(tiny.groups[name])
            assert same_color(line.get_color(), plots.GROUP_COLOURS[name])
            assert line.get_marker() == plots.GROUP_MARKERS[name]
            assert list(line.get_xdata()) == x[members].tolist()
            assert list(line.get_ydata()) == (factor * y[members]).tolist()
    assert legend_texts(figure.legends[0]) == ["many", "medium", "few"]
    assert len(set(plots.GROUP_MARKERS.values())) == 3


def test_lines_are_named_and_take_the_axes_settings():
    figure = plots.lines({"a": ([1, 2], [3, 4]), "b": ([1, 2], [5, 60])}, "epoch", "ratio", yscale="log")
    figure.canvas.draw()
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "ratio", "log")
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 4], [5, 60]]
    assert legend_texts(figure.legends[0]) == ["a", "b"]


def test_lines_of_shot_groups_have_the_colours_of_the_groups():
    figure = plots.lines({name: ([1, 2], [3, 4]) for name in ("overall", "few")}, "epoch", "accuracy, %")
    overall, few = figure.axes[0].lines
    assert few.get_color() == plots.GROUP_COLOURS["few"] and overall.get_color() not in plots.GROUP_COLOURS.values()


def test_lines_of_experts_have_the_colours_of_the_experts_and_differ_in_dash():
    names = ["expert 1", "expert 2, alone", "expert 2, consensus", "expert 3"]
    lines = plots.lines({name: ([1, 2], [3, 4]) for name in names}, "x", "y").axes[0].lines
    for line, k in zip(lines, (0, 1, 1, 2), strict=True):
        assert same_color(line.get_color(), plots.EXPERT_COLOURS[k])
    assert lines[1].get_linestyle() != lines[2].get_linestyle()
    # A method that is called after an expert is a method.
    (line,) = plots.lines({"expert 3 without the others": ([1, 2], [3, 4])}, "x", "y").axes[0].lines
    assert not any(same_color(line.get_color(), colour) for colour in plots.EXPERT_COLOURS)
    curve = torch.tensor([0.2, 0.9]), torch.tensor([0.25, 0.8])
    (ax,) = plots.reliability({"": {"expert 2, alone": curve}}, "x", "y").axes
    assert same_color(ax.lines[1].get_color(), plots.EXPERT_COLOURS[1])


@pytest.mark.parametrize(
    "names, columns", [(["a", "b", "c", "d"], 4), ([f"expert {k}, consensus" for k in range(4)], 3)]
)
def test_a_legend_is_no_wider_than_its_figure(names, columns):
    figure = plots.lines({name: ([1, 2], [3, 4]) for name in names}, "x", "y")
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert len({round(text.get_window_extent().x0) for text in figure.legends[0].get_texts()}) == columns


def test_every_figure_is_as_wide_as_the_page():
    curve = coverage_curve(torch.tensor([0.9, 0.8]), torch.tensor([True, False]))
    drawn = [
        plots.lines({"a": ([1, 2], [3, 4])}, "x", "y"),
        plots.accuracy_by_coverage({"test": curve}),
        plots.accuracy_by_compute({"sure": [(0.9, 0.4)]}, dense=0.42),
        plots.differences({"a": [1.0, 2.0]}, "points"),
    ]
    assert [figure.get_figwidth() for figure in drawn] == [7] * len(drawn)


def test_colours_stay_in_order_in_grey_print():
    for colours in (list(plots.GROUP_COLOURS.values()), list(plots.EXPERT_COLOURS)):
        greys = [luminance(colour) for colour in colours]
        assert greys == sorted(greys) and min(b - a for a, b in zip(greys, greys[1:], strict=False)) > 0.05


def test_methods_differ_in_colour_and_keep_theirs():
    styles = plots.method_styles(["a", "b", "a", "c", "d", "e", "f", "g"])
    assert list(styles) == list("abcdefg")
    assert len({style["color"] for style in styles.values()}) == 7
    assert styles["a"] == plots.method_styles(["a", "b"])["a"]
    among = plots.method_styles(["a", "dqroute", "b"])
    assert among["dqroute"] == plots.method_styles(["dqroute"])["dqroute"]
    assert len({str(style["color"]) for style in among.values()}) == 3


def test_eight_methods_differ_in_hatching():
    """As many as the package has: several of their colours are one grey in print."""
    assert len(set(plots.method_hatches("abcdefgh").values())) == 8


def test_speed_ratios_are_a_bar_a_network_and_job():
    rows = [
        {"case": case, "job": job, "ratio": {"images_per_second": ratio}}
        for case, ratios in {"one branch": (2.0, 3.0, 4.0), "three experts": (1.5, 2.5, 5.0)}.items()
        for job, ratio in zip(plots.JOB_COLOURS, ratios, strict=True)
    ]
    (ax,) = plots.speed_ratios(rows).axes
    drawn = {colour: [] for colour in plots.JOB_COLOURS.values()}
    for bar in ax.patches:
        drawn[to_hex(bar.get_facecolor())].append((round(bar.get_y() + bar.get_height() / 2), bar.get_width()))
    assert list(drawn.values()) == [[(0, 2.0), (1, 1.5)], [(0, 3.0), (1, 2.5)], [(0, 4.0), (1, 5.0)]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one branch", "three experts"]
    assert legend_texts(ax.get_legend()) == list(plots.JOB_COLOURS)


def test_accuracy_by_compute_is_a_line_a_rule_from_little_to_much():
    (ax,) = plots.accuracy_by_compute({"sure": [(0.9, 0.4), (0.5, 0.3)], "asked": [(0.7, 0.35)]}, dense=0.42).axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
    assert lines["sure"] == ([50, 90], [30, 40]) and lines["asked"] == ([70], [35])
    assert [42, 42] in [list(line.get_ydata()) for line in ax.lines]


def test_accuracy_by_count_is_a_point_a_class_and_names_the_worst(trained, tiny):
    report = replace(trained[1].report(), per_class=[0.9, 0.8, None, 0.1, 1.0, 1.0, 1.0, 0.2, 0.95, 1.0])
    (ax,) = plots.accuracy_by_count(report, tiny, named=2).axes
    many, medium, few = (collection.get_offsets().tolist() for collection in ax.collections)
    assert many[0] == [40, pytest.approx(90)] and many[3][1] == pytest.approx(10)
    assert len(medium) == len(few) == 3 and few[0] == [tiny.counts[7], pytest.approx(20)]
    shapes = [MarkerStyle(marker) for marker in plots.GROUP_MARKERS.values()]
    for points, shape in zip(ax.collections, shapes, strict=True):
        path = shape.get_path().transformed(shape.get_transform())
        np.testing.assert_allclose(points.get_paths()[0].vertices, path.vertices)
    assert [text.get_text() for text in ax.texts] == ["3", "7"]
    assert legend_texts(ax.get_legend()) == ["many", "medium", "few"]
    assert "%" in ax.get_ylabel() and ax.get_xscale() == "log"


def test_an_explanation_shows_what_each_expert_says_and_the_fused_answer(trained, tiny):
    image = tiny.test.images[33]
    told = dq.explain(trained[1], image)
    left, middle, right = plots.explanation(image, told).axes
    assert left.images[0].get_array().shape == (8, 8)
    assert [bar.get_width() for bar in middle.patches] == pytest.approx([100 * o.weight for o in told.experts])
    marks = [line.get_xdata()[0] for line in middle.lines]
    assert marks == pytest.approx([100 * o.confidence for o in told.experts])
    for k, (bar, label) in enumerate(zip(middle.patches, middle.get_yticklabels(), strict=True)):
        assert same_color(bar.get_facecolor(), plots.EXPERT_COLOURS[k])
        assert f"expert {k + 1}: {told.experts[k].says}, " in label.get_text()
    assert [label.get_text() for label in right.get_yticklabels()] == [name for name, _ in told.ranking]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([100 * share for _, share in told.ranking])


@pytest.mark.parametrize("number", [1, 3])
def test_a_row_of_images_has_captions_and_frames(tiny, number):
    figure = plots.image_row(tiny.train.images[:number], list("abc")[:number], ["red", "blue", "red"][:number])
    assert [ax.get_xlabel() for ax in figure.axes] == list("abc")[:number]
    assert [to_hex(ax.spines["left"].get_edgecolor()) for ax in figure.axes] == ["#ff0000", "#0000ff", "#ff0000"][
        :number
    ]


def test_accuracy_by_coverage_is_a_line_a_curve():
    curve = coverage_curve(torch.tensor([0.9, 0.8]), torch.tensor([True, False]))
    (ax,) = plots.accuracy_by_coverage({"test": curve}).axes
    (line,) = ax.lines
    assert list(line.get_xdata()) == [50, 100] and list(line.get_ydata()) == [100, 50]
    assert legend_texts(ax.get_legend()) == ["test"]
    assert "%" in ax.get_xlabel() and "%" in ax.get_ylabel()


def test_trade_offs_end_where_a_run_ends_and_mark_where_the_method_stands():
    """Two runs from few-shot 0 to 20 % and to 40 %: the mean line ends at 20 %; the dot is at shift 0."""
    first = [Point(0.0, 0.4, 0.5, 0.3, 0.0), Point(1.0, 0.3, 0.3, 0.3, 0.2)]
    second = [Point(0.0, 0.44, 0.5, 0.3, 0.1), Point(1.0, 0.3, 0.3, 0.3, 0.4)]
    (ax,) = plots.trade_offs({"one": [first, second]}).axes
    drawn, dot = ax.get_lines()
    reached = drawn.get_xdata()[~np.isnan(drawn.get_ydata())]
    assert (reached.min(), reached.max()) == pytest.approx((10, 20))
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((5, 42))
    assert "few-shot" in ax.get_xlabel() and "overall" in ax.get_ylabel()


def test_reliability_is_a_line_a_name_beside_the_diagonal():
    stated, true = torch.tensor([0.2, 0.9]), torch.tensor([0.25, 0.8])
    figure = plots.reliability({"left": {"a": (stated, true)}, "right": {"b": (true, stated)}}, "says, %", "is, %")
    left, right = figure.axes
    diagonal, line = left.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert list(line.get_xdata()) == pytest.approx([20, 90]) and list(line.get_ydata()) == pytest.approx([25, 80])
    assert legend_texts(left.get_legend()) == ["a"] and legend_texts(right.get_legend()) == ["b"]
    assert (left.get_xlabel(), left.get_ylabel(), right.get_xlabel()) == ("says, %", "is, %", "says, %")
    assert not same_color(line.get_color(), right.lines[1].get_color())


WEIGHTS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])


def test_simplex_has_an_expert_at_each_corner_and_equal_weights_in_the_middle():
    (ax,) = plots.simplex(WEIGHTS, torch.tensor([0, 1, 2, 0])).axes
    named = {text.get_text(): text.xy for text in ax.texts}
    drawn = {line.get_label(): np.array([line.get_xdata(), line.get_ydata()]).T for line in ax.lines}
    assert drawn["many"][0] == pytest.approx(named["expert 1"])
    assert drawn["medium"][0] == pytest.approx(named["expert 2"])
    assert drawn["few"][0] == pytest.approx(named["expert 3"])
    assert drawn["many"][1] == pytest.approx(np.mean(list(named.values()), axis=0))
    assert same_color(ax.lines[2].get_color(), plots.GROUP_COLOURS["few"])
    assert legend_texts(ax.get_legend()) == ["many", "medium", "few"]


def test_simplex_draws_images_where_there_is_room(tiny):
    """Each of the five has its point; the last has no picture, because the first one's is there."""
    weights = torch.cat([WEIGHTS, WEIGHTS[:1]])
    (ax,) = plots.simplex(weights, torch.tensor([0, 1, 2, 0, 2]), tiny.train.images[:5]).axes
    boxes = [artist for artist in ax.artists if isinstance(artist, AnnotationBbox)]
    assert [tuple(box.xy) for box in boxes] == [pytest.approx(tuple(text.xy)) for text in ax.texts] + [
        pytest.approx((0.5, 3**0.5 / 6))
    ]
    frames = [box.patch.get_edgecolor() for box in boxes]
    wanted = [plots.GROUP_COLOURS[name] for name in ("many", "medium", "few", "many")]
    assert all(same_color(frame, colour) for frame, colour in zip(frames, wanted, strict=True))
    assert (boxes[0].offsetbox.get_data() == tiny.train.images[0, 0].numpy()).all()
    drawn = {line.get_label(): np.array([line.get_xdata(), line.get_ydata()]).T for line in ax.lines}
    few = plots.simplex_places(weights)[[2, 4]]
    np.testing.assert_allclose(drawn["few"], few, rtol=1e-6)


def test_differences_are_a_row_a_name_with_its_mean_and_interval():
    (ax,) = plots.differences({"a": [1.0, 2.0, 3.0], "b": [-1.0, -1.0, -1.0]}, "points").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    dots, span, mean = ax.lines[:3]
    assert list(dots.get_xdata()) == [1, 2, 3] and list(mean.get_xdata()) == [2]
    low, high = span.get_xdata()
    # Student's t with two degrees of freedom: 4.303 times a standard error of 1 / √3.
    assert (2 - low, high - 2) == pytest.approx((2.484, 2.484), abs=0.001)


def test_class_names_are_text_and_no_formulas(tiny):
    plots.image_row(tiny.train.images[:2], [r"x$\foo$", "US$ and A$"]).draw_without_rendering()
    opinions = [Opinion(1, 10, "a$_$b", 0.6, 0.9, 1.0)]
    told = Explanation("price $5_to_$10", 0.9, [("price $5_to_$10", 0.9), (r"x$\foo$", 0.1)], opinions)
    plots.explanation(tiny.train.images[0], told).draw_without_rendering()


def test_accuracies_of_two_settings_are_not_averaged_as_if_they_were_seeds(trained):
    with pytest.raises(ValueError, match="more than once"):
        plots.accuracy_by_group([trained[0], trained[0]])
