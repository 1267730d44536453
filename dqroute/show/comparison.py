"""Figures that set methods or networks side by side: how right they are, how sure, how fast, and who speaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.measures.curves import GRID, Coverage, Point, curve
from dqroute.runs.report import Report
from dqroute.runs.tables import COLUMNS, Runs, by_row, by_seed, half_interval
from dqroute.show.style import (
    EXPERT_COLOURS,
    HATCHES,
    SUBJECT,
    legend_above,
    method_styles,
    new_figure,
    plain_numbers,
)


def lines(curves: Mapping[str, Iterable[ArrayLike]], xlabel: str, ylabel: str, marker: str = "", **axes: Any) -> Figure:
    """A line a name, each in its own colour and dash; shot groups and experts have the colours they have everywhere.

    Args:
        curves: horizontal and vertical values by name; marker: of each point; axes: as for ``Axes.set``.
    """
    figure, (ax,) = new_figure()
    for name, style in method_styles(curves).items():
        ax.plot(*curves[name], label=name, marker=marker, markersize=4, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel, **axes)
    plain_numbers(ax)
    legend_above(figure)
    return figure


def training_curves(runs: Runs) -> Figure:
    """Loss and accuracy on the (augmented) training images by epoch, a line a run.

    Losses of different methods are different quantities: compare their shapes, not their heights.
    """
    figure, (loss, accuracy) = new_figure(2)
    rows = by_row(runs)
    for name, style in method_styles(rows).items():
        for run in rows[name]:
            epochs = [record["epoch"] for record in run.epochs]
            loss.plot(epochs, [record["loss"] for record in run.epochs], label=name, **style)
            accuracy.plot(epochs, [100 * record["accuracy"] for record in run.epochs], **style)
    for ax, quantity in ((loss, "loss"), (accuracy, "accuracy, %")):
        ax.set(xlabel="epoch", ylabel=f"training {quantity}")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(figure)
    return figure


def accuracy_by_group(runs: Runs, split: str = "test") -> Figure:
    """Accuracy overall and by shot group, a bar a method (or row's name), each in its own colour and hatching.

    With three seeds or more a line spans the mean's 95 % interval. ValueError if a method has two runs of one seed.
    """
    rows = by_seed(runs, split)
    figure, (ax,) = new_figure(height=3.2)
    width = 0.8 / len(rows)
    for place, (method, style) in enumerate(method_styles(rows).items()):
        values = rows[method].reindex(columns=COLUMNS)
        half = values.apply(half_interval)
        where = np.arange(len(COLUMNS)) + (place + 0.5) * width - 0.4
        look = {"color": style["color"], "edgecolor": "white", "ecolor": "0.6", "label": method}
        bars = ax.bar(where, values.mean(), width, yerr=half if half.notna().any() else None, **look)
        for bar in bars:
            bar.set_hatch("" if method in SUBJECT else HATCHES[place % len(HATCHES)])
    ax.set(ylabel=f"{split} accuracy, %")
    ax.set_xticks(range(len(COLUMNS)), COLUMNS)
    ax.grid(axis="x", visible=False)
    legend_above(figure)
    return figure


def trade_offs(curves: Mapping[str, Sequence[Sequence[Point]]], marks: Sequence[float] = ()) -> Figure:
    """Overall against few-shot accuracy, a line a method: the mean over its runs, as far as all of them reach.

    A dot marks where the method stands by itself, without a further correction for the prior; ``marks`` names values of
    τ on the line.
    """
    figure, (ax,) = new_figure(height=3.6)
    for method, style in method_styles(curves).items():
        heights = torch.stack([curve(points) for points in curves[method]]).mean(dim=0)
        ax.plot(100 * GRID, 100 * heights, label=method, **style)
        for shift in {0.0, *marks}:
            own = [(point.few, point.overall) for points in curves[method] for point in points if point.shift == shift]
            at = 100 * np.mean(own, axis=0)
            ax.plot(*at, "o", color=style["color"], markerfacecolor=None if shift == 0 else "white")
            if shift in marks:  # below the line, on either side of its top
                side = 1 if at[0] < 100 * GRID[heights.nan_to_num().argmax()] else -1
                look: dict[str, Any] = {"textcoords": "offset points", "ha": "left" if side > 0 else "right"}
                ax.annotate(f"τ = {shift:g}", at, (6 * side, -8), fontsize="small", **look)
    ax.set(xlabel="few-shot accuracy, %", ylabel="overall accuracy, %")
    legend_above(figure, most=3)
    return figure


def differences(rows: Mapping[str, pd.DataFrame], xlabel: str, least: float | None = None) -> Figure:
    """Differences paired by seed, a row a name: each seed's as a small dot, their mean with its 95 % interval.

    Each quantity, a column of the frames with a seed a line, has a panel, and ``xlabel`` is their unit. Where
    one row would squash all others, ``least`` is where the axes, then of one scale, begin: a mean below it is an arrow
    at the edge with its number, and of the other rows the dots below it are not drawn.
    """
    columns = list(next(iter(rows.values())))
    figure, axes = new_figure(len(columns), 0.6 + 0.25 * len(rows), sharey=True, sharex=least is not None)
    for ax, column in zip(axes, columns, strict=True):
        for place, frame in enumerate(rows.values()):
            values = frame[column].astype(float)
            if least is not None and values.mean() < least:
                ax.annotate(f"← {values.mean():.1f}".replace("-", "−"), (least, place), va="center", fontsize="small")
                continue
            ax.plot(values, [place + 0.25] * len(values), ".", color="0.5", markersize=4)
            ax.errorbar(values.mean(), place, xerr=half_interval(values), fmt="o", color="#1b3a6b", markersize=5)
        ax.axvline(0, color="0.3", linewidth=1)
        ax.set_title(str(column), loc="left", fontsize="medium")
        ax.set(xlabel=xlabel)
        name_rows(ax, rows)
    if least is not None:
        axes[0].set_xlim(left=least)
    return figure


def before_and_after(
    before: Mapping[str, pd.DataFrame],
    after: Mapping[str, pd.DataFrame],
    columns: Sequence[str],
    names: tuple[str, str],
) -> Figure:
    """Two states of each row, an open and a full dot joined by a line, a panel a column; of values, a seed a line.

    A line spans the 95 % interval of the second state. ``names`` are those of the two states, for the legend.
    """
    figure, axes = new_figure(len(columns), 0.9 + 0.25 * len(after), sharey=True)
    for ax, column in zip(axes, columns, strict=True):
        for place, name in enumerate(after):
            first, second = before[name][column], after[name][column]
            own = "#a23b72" if name.startswith("dqroute") else "#1b3a6b"
            ax.plot([first.mean(), second.mean()], [place, place], color=own, linewidth=1, alpha=0.5)
            ax.plot(first.mean(), place, "o", color=own, markerfacecolor="white", markersize=5, zorder=3)
            ax.errorbar(second.mean(), place, xerr=half_interval(second), fmt="o", color=own, markersize=5, zorder=4)
        ax.set(xlabel=f"{column}, %")
        name_rows(ax, after)
    for name, face in zip(names, ("white", "#1b3a6b"), strict=True):
        axes[0].plot([], [], "o", color="#1b3a6b", markerfacecolor=face, label=name)
    legend_above(figure)
    return figure


def name_rows(ax: Axes, names: Iterable[str]) -> None:
    """Rows from the top, each with its name, and few numbers below: a panel may be an inch wide."""
    names = list(names)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.grid(axis="y", visible=False)


def expert_weights(reports: Sequence[Report]) -> Figure:
    """How much each expert counts for images of each shot group, mean over reports (seeds)."""
    told = {name: [weights for report in reports if (weights := report.expert_weights[name])] for name in GROUP_NAMES}
    shares = 100 * pd.DataFrame({f"{name}-shot images": pd.DataFrame(told[name]).mean() for name in told}).fillna(0)
    figure, (ax,) = new_figure(height=1.9)
    for k, (width, up_to) in enumerate(zip(shares.values, shares.cumsum().values, strict=True)):
        look: dict[str, Any] = {"color": EXPERT_COLOURS[k % len(EXPERT_COLOURS)], "edgecolor": "white"}
        bars = ax.barh(shares.columns, width, left=up_to - width, label=f"expert {k + 1}", **look)
        words = [f"{share:.0f}" if share > 6 else "" for share in width]
        ax.bar_label(bars, words, label_type="center", color="black" if k >= 2 else "white")
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set(xlabel="mean expert weight, %", xlim=(0, 100))
    legend_above(figure)
    return figure


def accuracy_by_coverage(curves: Mapping[str, Coverage]) -> Figure:
    """How often the answers are right against the share of images answered, a line a curve, by name."""
    drawn = {name: (100 * curve.coverage, 100 * curve.accuracy) for name, curve in curves.items()}
    return lines(drawn, "images answered, %", "answers that are right, %", xlim=(0, 100))


JOB_COLOURS = {"training": "#9fb0bd", "training, compiled": "#5d7182", "inference": "#27343f"}


def speed_ratios(rows: Sequence[dict[str, Any]]) -> Figure:
    """How many times as fast as the plain loop, a bar a network and job, from rows that `make bench` wrote."""
    ratios, value = pd.json_normalize(list(rows)), "ratio.images_per_second"
    table = ratios.pivot_table(index="case", columns="job", values=value, sort=False)
    figure, (ax,) = new_figure(height=0.9 + 0.7 * len(table))
    for place, (job, colour) in enumerate(JOB_COLOURS.items()):
        bars = ax.barh(np.arange(len(table)) + (place - 1) * 0.27, table[job], 0.27, color=colour, label=job)
        ax.bar_label(bars, fmt="×%.1f", padding=3, fontsize="small")
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set(xlabel="images a second, plain loop = 1", yticks=range(len(table)), yticklabels=table.index, xmargin=0.1)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    legend_above(figure)
    return figure
