"""Figures with a mark for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.image_set import ImageSet
from dqroute.runs.report import Report
from dqroute.show.style import (
    GROUP_COLOURS,
    GROUP_MARKERS,
    new_figure,
)


def class_counts(data: ImageSet) -> Figure:
    """Training images per class, most frequent first, coloured by shot group; the vertical axis is logarithmic."""
    return profile(data.counts, data.groups)


def profile(counts: Tensor, groups: ShotGroups, top: float | None = None) -> Figure:
    """Images per class, as :func:`class_counts` draws them.

    Args:
        counts: ``[C]``; groups: shot groups.
        top: upper end of the vertical axis, in images; None fits it to the counts.
    """
    figure, (ax,) = new_figure(height=2.6)
    group = groups.of_class()
    order = torch.argsort(counts, descending=True, stable=True)
    for index, name in enumerate(GROUP_NAMES):
        ranks = (group[order] == index).nonzero().flatten()
        label = f"{name} ({len(ranks)} classes)"
        ax.bar(ranks.tolist(), counts[order][ranks].tolist(), width=1.0, color=GROUP_COLOURS[name], label=label)
    ax.set(xlabel="class, by rank of frequency", ylabel="training images", yscale="log", xlim=(-1, len(counts)))
    # From one image up, so that the height of a bar starts at a number that means something.
    ax.set_ylim(bottom=1, top=top)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", visible=False)
    ax.legend(frameon=False, loc="upper right")
    return figure


def by_class(
    panels: Mapping[str, tuple[Tensor, Tensor, ShotGroups]], xlabel: str, ylabel: str, height: float = 3.0, **axes: Any
) -> Figure:
    """Two numbers of each class, a point a class, in the colour and shape of its shot group; panels side by side.

    Args:
        panels: by name, the horizontal and the vertical values, ``[C]`` each, and the shot groups.
        xlabel, ylabel: of all panels, with units.
        height: of the figure, in inches.
        axes: for every panel's ``Axes.set``, such as ``xscale="log"``.
    """
    figure, drawn = new_figure(len(panels), height=height)
    for ax, (panel, (x, y, groups)) in zip(drawn, panels.items(), strict=True):
        for name in GROUP_NAMES:
            members = list(groups[name])
            style: dict[str, Any] = {
                "marker": GROUP_MARKERS[name],
                "color": GROUP_COLOURS[name],
                "linestyle": "",
                "markersize": 4,
            }
            ax.plot(x[members].tolist(), y[members].tolist(), label=name, **style)
        ax.set(xlabel=xlabel, **axes)
        if ax.get_xscale() == "log":
            ax.xaxis.set_major_formatter("{x:,g}")
        if ax.get_yscale() == "log":
            ax.yaxis.set_major_formatter("{x:,g}")
        ax.set_title(panel, loc="left", fontsize="medium")
    low, high = min(ax.get_ylim()[0] for ax in drawn), max(ax.get_ylim()[1] for ax in drawn)
    for ax in drawn:
        ax.set_ylim(low, high)
    drawn[0].set_ylabel(ylabel)
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def accuracy_by_count(report: Report, data: ImageSet, named: int = 6) -> Figure:
    """Accuracy of each class against its number of training images, a point in the colour and shape of its shot group.

    Args:
        report: of a run; data: its image set; named: how many of the worst classes have their names beside them.
    """
    figure, (ax,) = new_figure(height=3.2)
    group, counts = data.groups.of_class(), data.counts
    accuracy = torch.tensor([torch.nan if a is None else 100 * a for a in report.per_class])
    for index, name in enumerate(GROUP_NAMES):
        inside = group == index
        style: dict[str, Any] = {"marker": GROUP_MARKERS[name], "color": GROUP_COLOURS[name]}
        ax.scatter(counts[inside], accuracy[inside], label=name, s=28, zorder=3, **style)
    for c in accuracy.nan_to_num(101).argsort(stable=True)[:named].tolist():
        where = counts[c].item(), accuracy[c].item()
        ax.annotate(
            data.class_names[c], where, xytext=(5, 0), textcoords="offset points", va="center", parse_math=False
        )
    ax.set(xlabel="training images of the class", ylabel=f"{report.split} accuracy, %", xscale="log", ylim=(-4, 104))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure
