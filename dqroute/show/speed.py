"""Figures of time and work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from dqroute.show.style import (
    method_styles,
    new_figure,
)

JOB_COLOURS = {"training": "#9fb0bd", "training, compiled": "#5d7182", "inference": "#27343f"}


def speed_ratios(rows: Sequence[dict[str, Any]]) -> Figure:
    """How many times as fast as the plain loop, a bar a network and job.

    Args:
        rows: of a result in ``benchmarks/results``, as `make bench` writes it.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, (ax,) = new_figure(height=0.9 + 0.7 * len(cases))
    high = 0.8 / len(JOB_COLOURS)
    for place, (job, colour) in enumerate(JOB_COLOURS.items()):
        found = {row["case"]: row["ratio"]["images_per_second"] for row in rows if row["job"] == job}
        where = [cases.index(case) + (place - 1) * high for case in found]
        bars = ax.barh(where, list(found.values()), height=high, color=colour, label=job)
        ax.bar_label(bars, fmt="×%.1f", padding=3, fontsize="small")
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set(xlabel="images a second, plain loop = 1", yticks=range(len(cases)), yticklabels=cases)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(JOB_COLOURS))
    return figure


def accuracy_by_compute(curves: dict[str, Sequence[tuple[float, float]]], dense: float) -> Figure:
    """Accuracy against the share of the operations that a sparse prediction takes.

    Args:
        curves: by the rule's name, points of operations (share of the dense prediction's) and accuracy, 0 to 1.
        dense: accuracy with all experts.
    """
    figure, (ax,) = new_figure(height=3.2)
    styles = method_styles(curves)
    for rule, points in curves.items():
        x, y = zip(*sorted(points), strict=True)
        ax.plot([100 * v for v in x], [100 * v for v in y], marker="o", markersize=4, label=rule, **styles[rule])
    ax.axhline(100 * dense, color="black", linewidth=0.8)
    ax.annotate("all experts", (1, 100 * dense), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    ax.set(xlabel="operations, % of all experts'", ylabel="accuracy, %")
    ax.legend(frameon=False)
    return figure
