"""Figures that show images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.data.image_set import ImageSet
from dqroute.runs.explain import Explanation
from dqroute.show.style import EXPERT_COLOURS, GROUP_COLOURS, new_figure, points_by_group

GREY = "#9fb0bd"


def examples(data: ImageSet, per_group: int = 12, rows: int = 2, seed: int = 0) -> Figure:
    """Training images of each shot group, one of each of some classes, drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    # Of features the set has another shape than its pictures.
    shape, panels = data.train.take([0]).shape[1:], []
    # No more room than the largest group fills.
    most = min(per_group, max(len(data.groups[name]) for name in GROUP_NAMES))
    wide = min(most, -(-per_group // rows))
    for name in GROUP_NAMES:
        classes = torch.tensor(data.groups[name], dtype=torch.int64)
        classes = classes[torch.randperm(len(classes), generator=generator)][:per_group]
        first = torch.full((-(-most // wide) * wide, *shape), 255, dtype=torch.uint8)
        if len(classes):
            first[: len(classes)] = data.train.take([int((data.train.labels == c).nonzero()[0, 0]) for c in classes])
        panels.append(torch.cat([torch.cat(list(row), dim=2) for row in first.split(wide)], dim=1))
    return image_row(torch.stack(panels), GROUP_NAMES, list(GROUP_COLOURS.values()))


def image_row(images: Tensor, captions: Sequence[str], colours: Sequence[str] | None = None) -> Figure:
    """Images side by side, uint8 ``[N, channels, H, W]``, with captions below and frames in colours, or grey."""
    high, wide = images.shape[2:]
    figure, axes = new_figure(len(images), height=7.0 / len(images) * high / wide + 0.4)
    for ax, image, caption, colour in zip(axes, images, captions, colours or [GREY] * len(images), strict=True):
        show_image(ax, image)
        ax.set_xlabel(caption, parse_math=False)
        for spine in ax.spines.values():
            # Around the image, of which it would hide three pixels.
            spine.set(visible=True, color=colour, linewidth=3, position=("outward", 1.5), capstyle="projecting")
    return figure


def show_image(ax: Axes, image: Tensor) -> None:
    """Draw a uint8 image ``[channels, H, W]`` without ticks."""
    ax.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)


def explanation(image: Tensor, told: Explanation) -> Figure:
    """An image, uint8 ``[channels, H, W]``, and what :func:`dqroute.explain` told of it: experts and fused."""
    figure, (left, middle, right) = new_figure(3, height=2.2, width_ratios=[1, 1.5, 1.5])
    show_image(left, image)
    for row, opinion in enumerate(told.experts):
        middle.barh(row, 100 * opinion.weight, color=EXPERT_COLOURS[row % len(EXPERT_COLOURS)])
        middle.plot(100 * opinion.confidence, row, "D", color="black", markerfacecolor="white", clip_on=False, zorder=4)
    says = [f"{o.name}: {o.says}, {100 * o.probability:.0f} %" for o in told.experts]
    middle.set_yticks(range(len(says)), says, parse_math=False)
    middle.set(xlabel="bar: weight, ◇: confidence; %", xlim=(0, 100))
    names, shares = zip(*told.ranking, strict=True)
    bars = right.barh(range(len(names)), [100 * share for share in shares], color="#5d7182")
    right.bar_label(bars, fmt="%.0f", padding=3)
    right.set_yticks(range(len(names)), names, parse_math=False)
    right.set(xlabel="fused probability, %", xlim=(0, 112), xticks=[0, 50, 100])
    for ax in (middle, right):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    return figure


CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])


def simplex_places(weights: Tensor) -> Tensor:
    """Where :func:`simplex` puts weights ``[N, 3]`` on its axes, ``[N, 2]``."""
    return weights.float() @ CORNERS


def simplex(
    weights: Tensor,
    groups: Tensor,
    images: Tensor | None = None,
    apart: float = 0.09,
    height: float = 4.6,
    corners: Sequence[str] = ("expert 1", "expert 2", "expert 3"),
) -> Figure:
    """Images by three weights, of experts most often: at a corner one decides alone, in the middle all are the same.

    Args:
        weights: ``[N, 3]``, rows summing to 1.
        groups: shot group of each image, ``[N]``, 0 many, 1 medium, 2 few.
        images: uint8 ``[N, channels, H, W]``, to be drawn on their points, in their order, as far as there is room.
        apart: least distance between two drawn images, across or up; the triangle's side is 1; height: in inches.
        corners: what they are called.
    """
    places = simplex_places(weights)
    figure, (ax,) = new_figure(height=height)
    ax.fill(*CORNERS.T.tolist(), facecolor="none", edgecolor=GREY, linewidth=0.8)
    taken = torch.full((1, 2), torch.inf)
    for place, group, image in zip(places, groups.tolist(), [] if images is None else images, strict=False):
        if (taken - place).abs().amax(dim=1).min() >= apart:
            taken = torch.cat([taken, place[None]])
            pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
            picture = OffsetImage(pixels, zoom=20 / image.shape[-1], cmap="gray", norm=Normalize(0, 255))
            edge = {"edgecolor": GROUP_COLOURS[GROUP_NAMES[group]], "linewidth": 2}
            # Above its point, and below all points: no image hides one.
            above: dict[str, Any] = {"xybox": (0, 15), "boxcoords": "offset points"}
            ax.add_artist(AnnotationBbox(picture, place.tolist(), pad=0.1, bboxprops=edge, **above))
    points_by_group(ax, places[:, 0], places[:, 1], groups, markersize=4, alpha=0.6, zorder=4)
    for k, corner in enumerate(CORNERS.tolist()):
        ax.annotate(corners[k], corner, (0, 34 if k == 2 else -24), textcoords="offset points", ha="center")
    ax.set(xlim=(-0.1, 1.1), ylim=(-0.12, 1), aspect="equal")
    ax.axis("off")
    ax.legend(frameon=False, loc="upper left")
    return figure
