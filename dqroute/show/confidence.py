"""Figures of who speaks and how sure: expert weights, calibration, abstaining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dqroute.core.coverage import Coverage
from dqroute.core.long_tail import GROUP_NAMES
from dqroute.runs.report import Report
from dqroute.show.style import (
    EXPERT_COLOURS,
    method_styles,
    new_figure,
)


def expert_weights(reports: Sequence[Report]) -> Figure:
    """How much each expert counts for images of each shot group, mean over reports (seeds)."""
    figure, (ax,) = new_figure(height=1.9)
    for row, name in enumerate(GROUP_NAMES):
        weights = [report.expert_weights[name] for report in reports if report.expert_weights[name] is not None]
        if not weights:
            continue
        left = 0.0
        for k, share in enumerate(torch.tensor(weights).mean(dim=0).tolist()):
            ax.barh(
                row, 100 * share, left=left, color=EXPERT_COLOURS[k % 4], edgecolor="white", label=f"expert {k + 1}"
            )
            ink = "black" if k >= 2 else "white"
            if share > 0.06:
                ax.text(left + 50 * share, row, f"{100 * share:.0f}", ha="center", va="center", color=ink)
            left += 100 * share
    ax.set_yticks(range(3), [f"{name}-shot images" for name in GROUP_NAMES])
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set(xlabel="mean expert weight, %", xlim=(0, 100))
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside upper center", ncols=len(once), frameon=False)
    return figure


def reliability(panels: Mapping[str, Mapping[str, tuple[Tensor, Tensor]]], xlabel: str, ylabel: str) -> Figure:
    """What came true against what was stated, a point a bin; on the diagonal the two agree. Panels side by side.

    Args:
        panels: by name, lines by name: the mean probability of each bin and the share that came true, ``[M]``, 0 to 1.
        xlabel, ylabel: of all panels, for numbers in %.
    """
    figure, axes = new_figure(len(panels), height=4.2)
    styles = method_styles(name for lines in panels.values() for name in lines)
    for ax, (panel, drawn) in zip(axes, panels.items(), strict=True):
        ax.plot([0, 100], [0, 100], color="black", linewidth=0.8)
        for name, (stated, true) in drawn.items():
            x, y = (100 * stated).tolist(), (100 * true).tolist()
            ax.plot(x, y, marker="o", markersize=4, label=name, **styles[name])
        ax.set(xlabel=xlabel, xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
        ax.set_title(panel, loc="left", fontsize="medium")
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize="small")
    axes[0].set_ylabel(ylabel)
    return figure


def accuracy_by_coverage(curves: dict[str, Coverage]) -> Figure:
    """How often the answers are right against the share of images answered, a line a curve.

    Args:
        curves: by name, from :func:`dqroute.core.coverage.coverage_curve`.
    """
    figure, (ax,) = new_figure(height=3.2)
    styles = method_styles(curves)
    for name, curve in curves.items():
        ax.plot(100 * curve.coverage, 100 * curve.accuracy, label=name, **styles[name])
    ax.set(xlabel="images answered, %", ylabel="answers that are right, %", xlim=(0, 100))
    ax.legend(frameon=False)
    return figure
