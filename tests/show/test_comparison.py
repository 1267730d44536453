"""Methods side by side: the figures draw what the runs and tables say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from drawn import bars, bars_by_method, legend_texts
from matplotlib.colors import same_color, to_hex

from dqroute import show
from dqroute.measures.curves import Point, coverage_curve
from dqroute.runs.tables import by_seed, half_interval


def test_lines_are_named_and_take_the_axes_settings():
    figure = show.lines({"a": ([1, 2], [3, 4]), "b": ([1, 2], [5, 60])}, "epoch", "ratio", yscale="log")
    figure.canvas.draw()
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "ratio", "log")
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 4], [5, 60]]
    assert legend_texts(figure.legends[0]) == ["a", "b"]


def test_lines_of_shot_groups_have_the_colours_of_the_groups():
    figure = show.lines({name: ([1, 2], [3, 4]) for name in ("overall", "few")}, "epoch", "accuracy, %")
    overall, few = figure.axes[0].lines
    assert few.get_color() == show.GROUP_COLOURS["few"] and overall.get_color() not in show.GROUP_COLOURS.values()


def test_lines_of_experts_have_the_colours_of_the_experts_and_differ_in_dash():
    names = ["expert 1", "expert 2, alone", "expert 2, consensus", "expert 3"]
    lines = show.lines({name: ([1, 2], [3, 4]) for name in names}, "x", "y").axes[0].lines
    for line, k in zip(lines, (0, 1, 1, 2), strict=True):
        assert same_color(line.get_color(), show.EXPERT_COLOURS[k])
    assert lines[1].get_linestyle() != lines[2].get_linestyle()
    # A method that is called after an expert is a method.
    (line,) = show.lines({"expert 3 without the others": ([1, 2], [3, 4])}, "x", "y").axes[0].lines
    assert not any(same_color(line.get_color(), colour) for colour in show.EXPERT_COLOURS)


def test_training_curves_are_a_line_a_run_with_one_entry_a_method(trained):
    figure = show.training_curves(trained)
    figure.canvas.draw()
    loss, accuracy = figure.axes
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    assert "loss" in loss.get_ylabel() and "%" in accuracy.get_ylabel()
    assert len(loss.lines) == len(accuracy.lines) == len(trained)
    assert legend_texts(figure.legends[0]) == ["cross-entropy", "dqroute"]
    assert list(loss.lines[2].get_ydata()) == [record["loss"] for record in trained[1].epochs]
    assert list(accuracy.lines[0].get_ydata()) == [100 * record["accuracy"] for record in trained[0].epochs]
    # Seeds of a method share its colour; methods do not.
    colours = [line.get_color() for line in loss.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_accuracies_are_a_bar_a_method_and_group(trained):
    figure = show.accuracy_by_group(trained)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert ax.get_ylabel() == "test accuracy, %"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["overall", "many", "medium", "few"]
    assert legend_texts(ax.figure.legends[0]) == ["cross-entropy", "dqroute"]
    for drawn, method in zip(bars_by_method(ax), ("cross-entropy", "dqroute"), strict=True):
        expected = by_seed(trained, "test")[method].mean().tolist()
        assert [bar.get_height() for bar in drawn] == pytest.approx(expected)


def test_bars_of_methods_are_hatched_alike_in_the_figure_and_its_legend(trained):
    """DQRoute's, which come first here, are plain."""
    (ax,) = show.accuracy_by_group(trained[1::-1]).axes
    hatches = [{bar.get_hatch() or "" for bar in drawn} for drawn in bars_by_method(ax)]
    assert hatches[0] == {""} and len(hatches[1]) == 1 and hatches[1] != {""}
    assert [{entry.get_hatch() or ""} for entry in ax.figure.legends[0].get_patches()] == hatches


def test_eight_methods_differ_in_hatching(trained):
    """As many as the package has: several of their colours are one grey in print."""
    (ax,) = show.accuracy_by_group({name: [trained[0]] for name in "abcdefgh"}).axes
    assert len({drawn[0].get_hatch() or "" for drawn in bars_by_method(ax)}) == 8


def test_the_lines_on_the_bars_span_the_tables_interval(trained):
    def with_overall(seed, overall):
        return SimpleNamespace(
            seed=seed, seconds=1.0, report=lambda split: replace(trained[0].report(), overall=overall)
        )

    (ax,) = show.accuracy_by_group({"one": [with_overall(seed, 0.2 + seed / 10) for seed in range(3)]}).axes
    (_, low), (_, high) = ax.collections[0].get_segments()[0]
    assert (high + low) / 2 == pytest.approx(30)
    assert (high - low) / 2 == pytest.approx(half_interval(pd.Series([20, 30, 40])))


def test_where_seeds_allow_no_interval_none_is_drawn(trained):
    (ax,) = show.accuracy_by_group(trained).axes
    assert not ax.lines and not ax.collections


def test_accuracies_of_two_settings_are_not_averaged_as_if_they_were_seeds(trained):
    with pytest.raises(ValueError, match="more than once"):
        show.accuracy_by_group([trained[0], trained[0]])


def test_trade_offs_end_where_a_run_ends_and_mark_where_the_method_stands():
    """Two runs from few-shot 0 to 20 % and to 40 %: the mean line ends at 20 %; the dot is at shift 0."""
    first = [Point(0.0, 0.4, 0.5, 0.3, 0.0), Point(1.0, 0.3, 0.3, 0.3, 0.2)]
    second = [Point(0.0, 0.44, 0.5, 0.3, 0.1), Point(1.0, 0.3, 0.3, 0.3, 0.4)]
    (ax,) = show.trade_offs({"one": [first, second]}).axes
    drawn, dot = ax.get_lines()
    reached = drawn.get_xdata()[~np.isnan(drawn.get_ydata())]
    assert (reached.min(), reached.max()) == pytest.approx((10, 20))
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((5, 42))
    assert "few-shot" in ax.get_xlabel() and "overall" in ax.get_ylabel()
    (ax,) = show.trade_offs({"one": [first, second]}, marks=(0.0, 1.0)).axes
    assert {text.get_text(): text.xy for text in ax.texts} == {
        "τ = 0": pytest.approx((5, 42)),
        "τ = 1": pytest.approx((30, 30)),
    }


def test_differences_are_a_row_a_name_with_its_mean_and_interval():
    frames = {name: pd.DataFrame({"few": values}) for name, values in {"a": [1.0, 2, 3], "b": [-1.0, -1, -1]}.items()}
    (ax,) = show.differences(frames, "points").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    dots, mean = ax.lines[:2]
    assert list(dots.get_xdata()) == [1, 2, 3] and list(mean.get_xdata()) == [2]
    (low, _), (high, _) = ax.collections[0].get_segments()[0]
    # Student's t with two degrees of freedom: 4.303 times a standard error of 1 / √3.
    assert (2 - low, high - 2) == pytest.approx((2.484, 2.484), abs=0.001)
    # Of several quantities each has a panel.
    frame = pd.DataFrame({"overall": [1.0, 2.0, 3.0], "few": [5.0, 5.0, 5.0]})
    overall, few = show.differences({"a": frame}, "points").axes
    assert (overall.get_title(loc="left"), few.get_title(loc="left")) == ("overall", "few")
    assert overall.get_xlabel() == few.get_xlabel() == "points"
    assert list(few.lines[0].get_xdata()) == [5, 5, 5] and list(overall.lines[1].get_xdata()) == [2]


def test_a_difference_that_would_squash_the_others_is_an_arrow_with_its_number():
    frames = {
        "a": pd.DataFrame({"few": [0.5, 1.5], "all": [0.0, 1]}),
        "b": pd.DataFrame({"few": [-19, -18.0], "all": [1.0, 1]}),
    }
    few, every = show.differences(frames, "points", least=-4).axes
    assert [(text.get_text(), text.xy) for text in few.texts] == [("← −18.5", (-4, 1))] and not every.texts
    assert few.get_xlim() == every.get_xlim() and few.get_xlim()[0] == -4


def test_before_and_after_are_a_row_a_name_and_a_panel_a_column():
    before = {n: pd.DataFrame({"overall": [50.0, 52, 54], "few": [30.0, 31, 32]}) for n in ("dqroute", "ride")}
    after = {n: frame + 5 for n, frame in before.items()}
    figure = show.before_and_after(before, after, ["overall", "few"], ("as trained", "calibrated"))
    overall, few = figure.axes
    assert (overall.get_xlabel(), few.get_xlabel()) == ("overall, %", "few, %")
    assert [tick.get_text() for tick in overall.get_yticklabels()] == ["dqroute", "ride"]
    joined = [
        list(line.get_xdata()) for line in few.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"
    ]
    assert joined == [[31, 36], [31, 36]]
    colours = {to_hex(line.get_color()) for line in overall.lines}
    assert len(colours) == 2, "what the book is about has a colour of its own"
    assert legend_texts(figure.legends[0]) == ["as trained", "calibrated"]


def test_expert_weights_fill_each_bar_in_the_experts_colours(trained):
    reports = [run.report() for run in trained if run.method == "dqroute"]
    figure = show.expert_weights(reports)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert "%" in ax.get_xlabel()
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{g}-shot images" for g in ("many", "medium", "few")
    ]
    assert legend_texts(figure.legends[0]) == ["expert 1", "expert 2", "expert 3"]
    drawn = torch.tensor([[bar.get_width() for bar in expert] for expert in bars_by_method(ax)]).float().T
    torch.testing.assert_close(drawn.sum(dim=1), torch.full((3,), 100.0))
    expected = torch.tensor([report.expert_weights["few"] for report in reports]).mean(dim=0) * 100
    torch.testing.assert_close(drawn[2], expected)
    for expert, colour in zip(bars_by_method(ax), show.EXPERT_COLOURS, strict=False):
        assert all(same_color(bar.get_facecolor(), colour) for bar in expert)


def test_expert_weights_leave_out_a_group_without_images(trained):
    report = trained[1].report()
    empty = replace(report, expert_weights=report.expert_weights | {"many": None})
    (ax,) = show.expert_weights([empty]).axes
    assert len(bars(ax)) == 6


def test_accuracy_by_coverage_is_a_line_a_curve():
    curve = coverage_curve(torch.tensor([0.9, 0.8]), torch.tensor([True, False]))
    (ax,) = show.accuracy_by_coverage({"test": curve}).axes
    (line,) = ax.lines
    assert list(line.get_xdata()) == [50, 100] and list(line.get_ydata()) == [100, 50]
    assert legend_texts(ax.figure.legends[0]) == ["test"]
    assert "%" in ax.get_xlabel() and "%" in ax.get_ylabel()


def test_speed_ratios_are_a_bar_a_network_and_job():
    rows = [
        {"case": case, "job": job, "ratio": {"images_per_second": ratio}}
        for case, ratios in {"one branch": (2.0, 3.0, 4.0), "three experts": (1.5, 2.5, 5.0)}.items()
        for job, ratio in zip(show.JOB_COLOURS, ratios, strict=True)
    ]
    (ax,) = show.speed_ratios(rows).axes
    drawn = {colour: [] for colour in show.JOB_COLOURS.values()}
    for bar in ax.patches:
        drawn[to_hex(bar.get_facecolor())].append((round(bar.get_y() + bar.get_height() / 2), bar.get_width()))
    assert list(drawn.values()) == [[(0, 2.0), (1, 1.5)], [(0, 3.0), (1, 2.5)], [(0, 4.0), (1, 5.0)]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one branch", "three experts"]
    assert legend_texts(ax.figure.legends[0]) == list(show.JOB_COLOURS)
