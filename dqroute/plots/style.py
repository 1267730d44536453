"""What all figures share: colours, shapes, dashes, and the bare figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dqroute.tables import half_interval

GROUP_COLOURS = {"many": "#1b3a6b", "medium": "#2a9d8f", "few": "#f2a541"}
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
EXPERT_COLOURS = ("#3d3d3d", "#a23b72", "#eba6c5", "#c9d6df")
# What the book is about stands out of any number of others.
SUBJECT: dict[str, dict[str, Any]] = {
    "dqroute": {"color": "#1c1c1c", "linestyle": "solid"},
    "dqroute, plain mean": {"color": "#8c8c8c", "linestyle": "solid"},
}
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1, 1, 1, 1, 1)))


def new_figure(columns: int = 1, width: float = 7.0, height: float = 3.0) -> tuple[Figure, Sequence[Axes]]:
    """A figure with axes side by side, in the book's style."""
    with sns.axes_style("whitegrid", {"grid.color": ".92"}):
        figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    for ax in axes[0]:
        sns.despine(ax=ax, left=True)
    return figure, list(axes[0])


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each method, in order of appearance; DQRoute is black, its plain mean grey."""
    names = list(dict.fromkeys(methods))
    colours = sns.color_palette("colorblind", len(names))
    styles = {name: {"color": colours[i], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)}
    return {name: style | SUBJECT.get(name, {}) for name, style in styles.items()}


def interval(values: pd.Series) -> tuple[float, float]:
    """The ends of the 95 % interval of the mean, the same as in the tables (seaborn's own is a bootstrap)."""
    half = half_interval(values)
    return values.mean() - half, values.mean() + half
