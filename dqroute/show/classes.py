"""Figures with a mark for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.data.image_set import ImageSet
from dqroute.runs.report import Report
from dqroute.show.style import GROUP_COLOURS, legend_above, new_figure, new_panels, plain_numbers, points_by_group

LEAST = 0.7  # images, where the axis of counts begins
FARTHEST = 40  # steps of two points by which a name is moved at most


def class_counts(data: ImageSet) -> Figure:
    """Training images per class, most frequent first, coloured by shot group; the vertical axis is logarithmic.

    Up to twenty classes are named.
    """
    figure, order = profile(data.counts, data.groups), torch.argsort(data.counts, descending=True, stable=True)
    if len(order) <= 20:
        names = [data.class_names[c] for c in order]
        # The longest has its share of the width, or they stand upright.
        turned = 90 if len(names) * (1 + max(map(len, names))) > 60 else 0
        figure.axes[0].set_xticks(range(len(names)), names, rotation=turned, parse_math=False)
        figure.axes[0].set(xlabel="class")
    return figure


def profile(counts: Tensor, groups: ShotGroups, top: float | None = None) -> Figure:
    """Images per class, ``[C]``, as :func:`class_counts` draws them, up to ``top`` images; None fits the counts."""
    figure, (ax,) = new_figure(height=3.0)
    order = torch.argsort(counts, descending=True, stable=True)
    group = groups.of_class()[order]
    for index, name in enumerate(GROUP_NAMES):
        ranks = (group == index).nonzero().flatten()
        label = f"{name} ({len(ranks)} classes)"
        ax.bar(ranks.tolist(), counts[order][ranks].tolist(), width=1.0, color=GROUP_COLOURS[name], label=label)
    ax.set(xlabel="class, by rank of frequency", ylabel="training images", yscale="log", xlim=(-1, len(counts)))
    # From a little below one image up, so that a class of one has a bar, too.
    ax.set_ylim(bottom=LEAST, top=top)
    plain_numbers(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="x", visible=False)
    legend_above(figure)
    return figure


def by_class(
    panels: Mapping[str, tuple[Tensor, Tensor, ShotGroups]], xlabel: str, ylabel: str, height: float = 3.0, **axes: Any
) -> Figure:
    """Two numbers of each class, a point a class, in the colour and shape of its shot group; panels side by side.

    Args:
        panels: by name, the horizontal and the vertical values, ``[C]`` each, and the shot groups.
        xlabel, ylabel: with units; height: in inches; axes: for each panel's ``Axes.set``, as ``xscale="log"``.
    """
    figure, drawn = new_panels(panels, height, xlabel, ylabel, **axes)
    for ax, (x, y, groups) in zip(drawn, panels.values(), strict=True):
        points_by_group(ax, x, y, groups.of_class(), markersize=4)
    legend_above(figure)
    return figure


def accuracy_by_count(report: Report, data: ImageSet, named: int = 6) -> Figure:
    """Accuracy of each class against its number of training images; the ``named`` worst have their names beside them.

    The report is a run's, the data are its image set.
    """
    accuracy = torch.tensor([torch.nan if a is None else 100 * a for a in report.per_class])
    panel = {"": (data.counts, accuracy, data.groups)}
    ylabel = f"{report.split} accuracy, %"
    figure = by_class(panel, "training images of the class", ylabel, 3.2, xscale="log", ylim=(-4, 104))
    # Plain numbers, as many as there is room for.
    figure.axes[0].xaxis.set(
        major_locator=LogLocator(subs=(1.0, 2.0, 5.0), numticks=8), minor_formatter=NullFormatter()
    )
    points, (ax,) = torch.stack([data.counts.double(), accuracy.double()], dim=1), figure.axes
    line = {"arrowstyle": "-", "color": ".6", "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 0}
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "parse_math": False, "arrowprops": line}
    judged = [c for c in accuracy.argsort(stable=True).tolist() if not accuracy[c].isnan()]
    names = [ax.annotate(data.class_names[c], tuple(points[c].tolist()), (9, 0), **beside) for c in judged[:named]]
    put_apart(figure, names, points)
    return figure


def put_apart(figure: Figure, names: Iterable[Annotation], points: Tensor) -> None:
    """Move the names of some of the points ``[N, 2]`` upwards, not far, until none covers another or a point."""
    figure.draw_without_rendering()  # before that nothing has its place
    seen = figure.axes[0].transData.transform(points[points.isfinite().all(dim=1)].numpy())
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in seen]
    # From the right: a name lies to the right of its point.
    for name in sorted(names, key=lambda name: -name.xy[0]):
        place = Text.get_window_extent(name)  # without the line to its point
        for _ in range(FARTHEST):
            if not place.count_overlaps(taken):
                break
            x, y = name.get_position()
            name.set_position((x, y + 2))
            place = Text.get_window_extent(name)
        taken.append(place)
