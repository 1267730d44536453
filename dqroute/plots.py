"""The book's figures, in one style.

Style guide. Many, medium and few have fixed colours, and so have experts 1 to 3; both run from dark to light, so
that they stay in order in grey print, and no pair is told apart by red against green alone. Where groups are drawn as
points, their shapes differ too. Methods differ in colour and dash. Axes carry their quantity and unit. Grid lines are
faint, frames are left off, no figure has a title: the text around it says what to see. A figure is 7 inches wide, the
width of the page's column, and on white ground also where the page is dark. Each has an alternative text: in a
notebook under ``mystnb.image.alt`` of its cell's metadata, in a moving figure the sentence below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dqroute.coverage import Coverage
from dqroute.data.image_set import ImageSet
from dqroute.explanation import Explanation
from dqroute.long_tail import GROUP_NAMES, ShotGroups
from dqroute.report import Report
from dqroute.runs import Run
from dqroute.tables import COLUMNS, accuracies, half_interval
from dqroute.tradeoff import GRID, Point
from dqroute.tradeoff import curve as height_of

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


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str, **axes: Any
) -> Figure:
    """A line a name, each in its own colour and dash; shot groups have the colours they have everywhere.

    Args:
        curves: horizontal and vertical values by name.
        xlabel, ylabel: with units; axes: for ``Axes.set``, such as ``yscale="log"``.
    """
    figure, (ax,) = new_figure()
    styles = method_styles(curves)
    for name, (x, y) in curves.items():
        colour = {"color": GROUP_COLOURS[name]} if name in GROUP_COLOURS else {}
        ax.plot(x, y, label=name, **styles[name] | colour)
    ax.set(xlabel=xlabel, ylabel=ylabel, **axes)
    if ax.get_xscale() == "log":
        ax.xaxis.set_major_formatter("{x:,g}")
    figure.legend(loc="outside upper center", ncols=min(len(curves), 4), frameon=False)
    return figure


def examples(data: ImageSet, per_group: int = 12, rows: int = 2, seed: int = 0) -> Figure:
    """Training images of each shot group, one of each of some classes, drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    figure, axes = plt.subplots(1, 3, figsize=(7.0, 1.1), layout="constrained")
    for ax, name in zip(axes, GROUP_NAMES, strict=True):
        classes = torch.tensor(data.groups[name], dtype=torch.int64)
        classes = classes[torch.randperm(len(classes), generator=generator)][:per_group]
        first = torch.full((-(-per_group // rows) * rows, *data.shape), 255, dtype=torch.uint8)
        if len(classes):
            first[: len(classes)] = data.train.take([int((data.train.labels == c).nonzero()[0, 0]) for c in classes])
        grid = torch.cat([torch.cat(list(row), dim=2) for row in first.chunk(rows)], dim=1)
        ax.imshow(grid.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel(name)
        for spine in ax.spines.values():
            spine.set(color=GROUP_COLOURS[name], linewidth=3)
    return figure


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a dash for each method, in order of appearance; DQRoute is black, its plain mean grey."""
    names = list(dict.fromkeys(methods))
    colours = sns.color_palette("colorblind", len(names))
    styles = {name: {"color": colours[i], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)}
    return {name: style | SUBJECT.get(name, {}) for name, style in styles.items()}


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


def interval(values: pd.Series) -> tuple[float, float]:
    """The ends of the 95 % interval of the mean, the same as in the tables (seaborn's own is a bootstrap)."""
    half = half_interval(values)
    return values.mean() - half, values.mean() + half


def accuracy_by_group(runs: Sequence[Run], split: str = "test") -> Figure:
    """Accuracy overall and by shot group, a bar a method; with several seeds a line spans the mean's 95 % interval."""
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
    figure, (ax,) = new_figure(width=5.5, height=3.2)
    styles = method_styles(curves)
    for rule, points in curves.items():
        x, y = zip(*sorted(points), strict=True)
        ax.plot([100 * v for v in x], [100 * v for v in y], marker="o", markersize=4, label=rule, **styles[rule])
    ax.axhline(100 * dense, color="black", linewidth=0.8)
    ax.annotate("all experts", (1, 100 * dense), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    ax.set(xlabel="operations, % of all experts'", ylabel="accuracy, %")
    ax.legend(frameon=False)
    return figure


def accuracy_by_count(report: Report, data: ImageSet, named: int = 6) -> Figure:
    """Accuracy of each class against its number of training images, coloured by shot group; the worst are named."""
    figure, (ax,) = new_figure(height=3.2)
    group, counts = data.groups.of_class(), data.counts
    accuracy = torch.tensor([torch.nan if a is None else 100 * a for a in report.per_class])
    for index, name in enumerate(GROUP_NAMES):
        inside = group == index
        ax.scatter(counts[inside], accuracy[inside], color=GROUP_COLOURS[name], label=name, s=28, zorder=3)
    for c in accuracy.nan_to_num(101).argsort(stable=True)[:named].tolist():
        where = counts[c].item(), accuracy[c].item()
        ax.annotate(data.class_names[c], where, xytext=(5, 0), textcoords="offset points", va="center")
    ax.set(xlabel="training images of the class", ylabel=f"{report.split} accuracy, %", xscale="log", ylim=(-4, 104))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def show_image(ax: Axes, image: Tensor) -> None:
    """Draw a uint8 image ``[channels, H, W]`` without ticks."""
    ax.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)


def explanation(image: Tensor, told: Explanation) -> Figure:
    """An image, what each expert says of it and how much that counts, and what the fused prediction comes to.

    Args:
        image: uint8 ``[channels, H, W]``; told: from :func:`dqroute.explain`.
    """
    with sns.axes_style("whitegrid", {"grid.color": ".92"}):
        figure, (left, middle, right) = plt.subplots(
            1, 3, figsize=(7.0, 2.2), layout="constrained", width_ratios=[1, 1.5, 1.5]
        )
    show_image(left, image)
    for row, opinion in enumerate(told.experts):
        colour = EXPERT_COLOURS[row % len(EXPERT_COLOURS)]
        middle.barh(row, 100 * opinion.weight, color=colour, label="weight" if row == 0 else None)
        middle.plot(100 * opinion.confidence, row, "D", color="black", markerfacecolor="white", clip_on=False, zorder=4)
    says = [f"expert {o.expert}: {o.says}, {100 * o.probability:.0f} %" for o in told.experts]
    middle.set_yticks(range(len(says)), says)
    middle.set(xlabel="bar: weight, ◇: confidence; %", xlim=(0, 100))
    names, shares = zip(*told.ranking, strict=True)
    bars = right.barh(range(len(names)), [100 * share for share in shares], color="#5d7182")
    right.bar_label(bars, fmt="%.0f", padding=3)
    right.set_yticks(range(len(names)), names)
    right.set(xlabel="fused probability, %", xlim=(0, 112), xticks=[0, 50, 100])
    for ax in (middle, right):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        sns.despine(ax=ax, left=True)
    return figure


def image_row(images: Tensor, captions: Sequence[str], colours: Sequence[str] | None = None) -> Figure:
    """Images side by side, each with a few words below it.

    Args:
        images: uint8 ``[N, channels, H, W]``; captions: ``N``; colours: of the frames, ``N``; None draws them grey.
    """
    figure, axes = plt.subplots(1, len(images), figsize=(7.0, 7.0 / len(images) + 0.4), layout="constrained")
    for ax, image, caption, colour in zip(
        [axes] if len(images) == 1 else axes, images, captions, colours or ["#9fb0bd"] * len(images), strict=True
    ):
        show_image(ax, image)
        ax.set_xlabel(caption)
        for spine in ax.spines.values():
            spine.set(color=colour, linewidth=3)
    return figure


def accuracy_by_coverage(curves: dict[str, Coverage]) -> Figure:
    """How often the answers are right against the share of images answered, a line a curve.

    Args:
        curves: by name, from :func:`dqroute.coverage.coverage_curve`.
    """
    figure, (ax,) = new_figure(width=5.5, height=3.2)
    styles = method_styles(curves)
    for name, curve in curves.items():
        ax.plot(100 * curve.coverage, 100 * curve.accuracy, label=name, **styles[name])
    ax.set(xlabel="images answered, %", ylabel="answers that are right, %", xlim=(0, 100))
    ax.legend(frameon=False)
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


def simplex(
    weights: Tensor, groups: Tensor, images: Tensor | None = None, apart: float = 0.09, height: float = 4.6
) -> Figure:
    """Images by the weights of three experts: at a corner one expert decides alone, in the middle all weigh the same.

    Args:
        weights: ``[N, 3]``, rows summing to 1.
        groups: shot group of each image, ``[N]``, 0 many, 1 medium, 2 few.
        images: uint8 ``[N, channels, H, W]``, to be drawn in the place of points, in their order, as far as there is
            room.
        apart: least distance between two drawn images, across or up; the triangle's side is 1.
        height: of the figure, in inches.
    """
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
    places = weights.float() @ corners
    figure, ax = plt.subplots(figsize=(7.0, height), layout="constrained")
    ax.fill(*corners.T.tolist(), facecolor="none", edgecolor="#9fb0bd", linewidth=0.8)
    if images is not None:
        taken = torch.full((1, 2), torch.inf)
        for place, group, image in zip(places, groups.tolist(), images, strict=True):
            if (taken - place).abs().amax(dim=1).min() >= apart:
                taken = torch.cat([taken, place[None]])
                pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
                picture = OffsetImage(pixels, zoom=20 / image.shape[-1], cmap="gray", norm=Normalize(0, 255))
                edge = {"edgecolor": GROUP_COLOURS[GROUP_NAMES[group]], "linewidth": 2}
                ax.add_artist(AnnotationBbox(picture, place.tolist(), pad=0.1, bboxprops=edge))
    for index, name in enumerate(GROUP_NAMES):
        x, y = places[groups == index].T.tolist() if images is None else ([], [])
        style: dict[str, Any] = {"marker": GROUP_MARKERS[name], "color": GROUP_COLOURS[name], "linestyle": ""}
        ax.plot(x, y, markersize=4, alpha=0.6, label=name, **style)
    for k, (x, y) in enumerate(corners.tolist()):
        ax.annotate(f"expert {k + 1}", (x, y), (0, 18 if k == 2 else -24), textcoords="offset points", ha="center")
    ax.set(xlim=(-0.1, 1.1), ylim=(-0.12, 1), aspect="equal")
    ax.axis("off")
    ax.legend(frameon=False, loc="upper left")
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
