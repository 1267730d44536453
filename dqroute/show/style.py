"""What all figures share: colours, shapes, dashes, hatches, the bare figure and its legend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES

GROUP_COLOURS = {"many": "#1b3a6b", "medium": "#2a9d8f", "few": "#f2a541"}
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
EXPERT_COLOURS = ("#3d3d3d", "#a23b72", "#eba6c5", "#c9d6df")
# What the book is about stands out of any number of others: it has no dash and no hatching.
SUBJECT = {"dqroute": "#1c1c1c", "dqroute, plain mean": "#8c8c8c"}
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1, 1, 1, 1, 1)))
# Inches: as wide as leaves letters of ten points legible on a phone, in a column of 360 pixels.
WIDTH, DPI = 5.2, 120
HATCHES = ("", "///", "---", "\\\\\\", "|||", "xxx", "+++", "oo")


def new_figure(columns: int = 1, height: float = 3.0, **grid: Any) -> tuple[Figure, list[Axes]]:
    """Axes side by side, in the book's style, legible on a phone; ``grid`` is for ``plt.subplots``."""
    with sns.axes_style("whitegrid", {"grid.color": ".92"}):
        size: dict[str, Any] = {"figsize": (WIDTH, height), "dpi": DPI, "layout": "constrained"}
        figure, axes = plt.subplots(1, columns, squeeze=False, **size, **grid)
    figure.set_facecolor("none")  # the page's own ground, light or dark
    for ax in axes[0]:
        ax.set_facecolor("none")
        sns.despine(ax=ax, left=True)
    return figure, list(axes[0])


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each name, in order of appearance.

    DQRoute is black, its plain mean grey; shot groups and experts ("expert 2", "expert 2, alone") have their own.
    """
    names = list(dict.fromkeys(methods))
    styles = {}
    for i, (name, colour) in enumerate(zip(names, sns.color_palette("colorblind", len(names)), strict=True)):
        if expert := re.match(r"expert (\d+)(,|$)", name):
            colour = EXPERT_COLOURS[(int(expert[1]) - 1) % len(EXPERT_COLOURS)]
        dash = "solid" if name in SUBJECT else DASHES[i % len(DASHES)]
        styles[name] = {"color": (GROUP_COLOURS | SUBJECT).get(name, colour), "linestyle": dash}
    return styles


def new_panels(names: Iterable[str], height: float, xlabel: str, ylabel: str, **axes: Any) -> tuple[Figure, list[Axes]]:
    """A figure with named panels side by side, all on one vertical scale; ``axes`` is for ``Axes.set`` of each."""
    names = list(names)
    figure, drawn = new_figure(len(names), height, sharey=True)
    for ax, name in zip(drawn, names, strict=True):
        ax.set(xlabel=xlabel, **axes)
        ax.set_title(name, loc="left", fontsize="medium")
        plain_numbers(ax)
    drawn[0].set_ylabel(ylabel)
    return figure, drawn


def points_by_group(ax: Axes, x: Tensor, y: Tensor, group: Tensor, **style: Any) -> None:
    """A point each, in the colour and shape of its shot group: 0 many, 1 medium, 2 few; all three are named."""
    for index, name in enumerate(GROUP_NAMES):
        style |= {"marker": GROUP_MARKERS[name], "color": GROUP_COLOURS[name], "linestyle": ""}
        ax.plot(x[group == index].tolist(), y[group == index].tolist(), label=name, **style)


def legend_above(figure: Figure, most: int = 4) -> None:
    """One legend for all axes, above them, in as many columns as are no wider than the figure."""
    drawn = [ax.get_legend_handles_labels() for ax in figure.axes]
    entries = {name: handle for handles, names in drawn for handle, name in zip(handles, names, strict=True)}
    columns = min(len(entries), most)
    # Inches: of a handle with the space around it, and of a letter.
    while sum(0.65 + 0.075 * max(map(len, c)) for c in np.array_split(list(entries), columns)) > WIDTH and columns > 1:
        columns -= 1
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns, frameon=False)


class _Plain(LogFormatter):
    """Numbers between the powers of ten, where the axis is short enough to name them."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:,g}" if super().__call__(x, pos) else ""


def plain_numbers(ax: Axes) -> None:
    """Write 10,000 instead of a power of ten where an axis is logarithmic."""
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter(_Plain())
