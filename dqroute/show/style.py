"""What all figures share: colours, shapes, dashes, hatches, and the bare figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dqroute.runs.tables import half_interval

GROUP_COLOURS = {"many": "#1b3a6b", "medium": "#2a9d8f", "few": "#f2a541"}
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
EXPERT_COLOURS = ("#3d3d3d", "#a23b72", "#eba6c5", "#c9d6df")
# What the book is about stands out of any number of others.
SUBJECT: dict[str, dict[str, Any]] = {
    "dqroute": {"color": "#1c1c1c", "linestyle": "solid"},
    "dqroute, plain mean": {"color": "#8c8c8c", "linestyle": "solid"},
}
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "///", "---", "\\\\\\", "|||", "xxx", "+++", "oo")


def new_figure(columns: int = 1, height: float = 3.0) -> tuple[Figure, Sequence[Axes]]:
    """A figure with axes side by side, in the book's style, as wide as the page's column."""
    with sns.axes_style("whitegrid", {"grid.color": ".92"}):
        figure, axes = plt.subplots(1, columns, figsize=(7.0, height), layout="constrained", squeeze=False)
    for ax in axes[0]:
        sns.despine(ax=ax, left=True)
    return figure, list(axes[0])


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each name, in order of appearance.

    Methods have colours of their own, DQRoute black and its plain mean grey; shot groups and experts (a name such as
    "expert 2" or "expert 2, alone") have those that they have everywhere.
    """
    names = list(dict.fromkeys(methods))
    colours = sns.color_palette("colorblind", len(names))
    styles = {name: {"color": colours[i], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)}
    return {name: style | fixed_style(name) for name, style in styles.items()}


def fixed_style(name: str) -> dict[str, Any]:
    """What a name has in every figure; empty for most."""
    if name in GROUP_COLOURS:
        return {"color": GROUP_COLOURS[name]}
    expert = re.match(r"expert (\d+)(,|$)", name)
    if expert:
        return {"color": EXPERT_COLOURS[(int(expert[1]) - 1) % len(EXPERT_COLOURS)]}
    return SUBJECT.get(name, {})


def method_hatches(methods: Iterable[str]) -> dict[str, str]:
    """A hatching for each method's bars, in order of appearance; DQRoute's are black without one."""
    names = list(dict.fromkeys(methods))
    hatches = {name: HATCHES[i % len(HATCHES)] for i, name in enumerate(names)}
    return hatches | {name: "" for name in SUBJECT if name in hatches}


def legend_columns(names: Sequence[str], most: int = 4) -> int:
    """How many columns of these names a legend may have and be no wider than a figure."""
    for columns in range(min(len(names), most), 1, -1):
        longest = [max(map(len, part)) for part in np.array_split(names, columns)]
        # Inches: of a handle with the space around it, and of a letter.
        if sum(0.65 + 0.075 * letters for letters in longest) <= 7:
            return columns
    return 1


def interval(values: pd.Series) -> tuple[float, float]:
    """The ends of the 95 % interval of the mean, the same as in the tables (seaborn's own is a bootstrap)."""
    half = half_interval(values)
    return values.mean() - half, values.mean() + half
