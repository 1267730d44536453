"""Figures that set methods, or settings of one, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dqroute.core.tradeoff import GRID, Point
from dqroute.core.tradeoff import curve as height_of
from dqroute.runs.run import Run
from dqroute.runs.tables import COLUMNS, accuracies, check_one_run_a_seed
from dqroute.show.style import (
    interval,
    legend_columns,
    method_hatches,
    method_styles,
    new_figure,
)


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str, **axes: Any
) -> Figure:
    """A line a name, each in its own colour and dash; shot groups and experts have the colours they have everywhere.

    Args:
        curves: horizontal and vertical values by name.
        xlabel, ylabel: with units; axes: for ``Axes.set``, such as ``yscale="log"``.
    """
    figure, (ax,) = new_figure()
    styles = method_styles(curves)
    for name, (x, y) in curves.items():
        ax.plot(x, y, label=name, **styles[name])
    ax.set(xlabel=xlabel, ylabel=ylabel, **axes)
    if ax.get_xscale() == "log":
        ax.xaxis.set_major_formatter("{x:,g}")
    figure.legend(loc="outside upper center", ncols=legend_columns(list(curves)), frameon=False)
    return figure


def training_curves(runs: Sequence[Run]) -> Figure:
    """Loss and accuracy on the (augmented) training images by epoch, a line a run.

    Losses of different methods are different quantities: compare their shapes, not their heights.
    """
    figure, axes = new_figure(2)
    styles = method_styles(run.method for run in runs)
    labelled: set[str] = set()
    for run in runs:
        records = run.epochs
        epochs = [record["epoch"] for record in records]
        label = None if run.method in labelled else run.method
        labelled.add(run.method)
        axes[0].plot(epochs, [record["loss"] for record in records], label=label, **styles[run.method])
        axes[1].plot(epochs, [100 * record["accuracy"] for record in records], **styles[run.method])
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set(xlabel="epoch", ylabel="training loss")
    axes[1].set(xlabel="epoch", ylabel="training accuracy, %")
    figure.legend(loc="outside upper center", ncols=min(len(styles), 4), frameon=False)
    return figure


def accuracy_by_group(runs: Sequence[Run], split: str = "test") -> Figure:
    """Accuracy overall and by shot group, a bar a method, each in its own colour and hatching.

    With several seeds a line spans the mean's 95 % interval.

    Raises:
        ValueError: if a method has two runs of one seed.
    """
    check_one_run_a_seed(runs)
    frame = accuracies(runs, split)
    several = frame["seed"].nunique() > 1
    figure, (ax,) = new_figure(height=3.2)
    methods = list(dict.fromkeys(frame["method"]))
    palette = {name: style["color"] for name, style in method_styles(methods).items()}
    sns.barplot(
        frame,
        x="group",
        y="accuracy",
        hue="method",
        order=COLUMNS,
        hue_order=methods,
        palette=palette,
        errorbar=interval if several else None,
        err_kws={"color": "0.6"},
        ax=ax,
        edgecolor="white",
    )
    ax.set(xlabel="", ylabel=f"{split} accuracy, %")
    sns.move_legend(
        ax, "lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(methods), 4), title=None, frameon=False
    )
    hatches = method_hatches(methods).values()
    legend = ax.get_legend()
    assert legend is not None
    for bars, entry, hatch in zip(ax.containers, legend.get_patches(), hatches, strict=True):
        for patch in [*bars, entry]:
            patch.set_hatch(hatch)
    return figure


def trade_offs(curves: Mapping[str, Sequence[Sequence[Point]]]) -> Figure:
    """Overall against few-shot accuracy, a line a method: the mean over its runs, as far as all of them reach.

    A dot marks where the method stands by itself, without a further correction for the prior.
    """
    figure, (ax,) = new_figure(height=3.6)
    for method, style in method_styles(curves).items():
        heights = np.stack([height_of(points) for points in curves[method]]).mean(axis=0)
        ax.plot(100 * GRID, 100 * heights, label=method, **style)
        own = [next(point for point in points if point.shift == 0) for points in curves[method]]
        few, overall = (100 * np.mean([getattr(point, name) for point in own]) for name in ("few", "overall"))
        ax.plot(few, overall, "o", color=style["color"])
    ax.set(xlabel="few-shot accuracy, %", ylabel="overall accuracy, %")
    figure.legend(loc="outside upper center", ncols=min(len(curves), 3), frameon=False)
    return figure


def differences(rows: Mapping[str, Sequence[float]], xlabel: str) -> Figure:
    """Differences paired by seed, a row a name: each seed's as a small dot, their mean with its 95 % interval.

    Args:
        rows: by name, one difference a seed; xlabel: what differs, with its unit.
    """
    figure, (ax,) = new_figure(height=0.6 + 0.27 * len(rows))
    for place, values in enumerate(rows.values()):
        ax.plot(values, [place + 0.25] * len(values), ".", color="0.5", markersize=4)
        low, high = interval(pd.Series(values, dtype=float))
        ax.plot([low, high], [place, place], color="#1b3a6b", linewidth=1.5)
        ax.plot(np.mean(values), place, "o", color="#1b3a6b", markersize=5)
    ax.axvline(0, color="0.3", linewidth=1)
    ax.set(xlabel=xlabel, yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    return figure
