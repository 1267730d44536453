"""What shows images: in a row, as HTML, and as points of a triangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from IPython.display import HTML
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from dqroute.core.long_tail import GROUP_NAMES
from dqroute.data.markup import escaped, picture
from dqroute.show.style import GROUP_COLOURS, new_figure, points_by_group


def image_row(images: Tensor, captions: Sequence[str], high: int = 128) -> HTML:
    """Images side by side as long as there is room, uint8 ``[N, channels, H, W]``, each with its caption below.

    They are ``high`` pixels high, and, unlike those in a figure, never turned over with it where a page is dark.
    """
    tiles = [
        f'<figure style="margin: 0; padding: 0; max-width: 16rem">{picture(image, caption, high)}'
        f'<figcaption style="margin: 0; padding: 0; text-align: left">{escaped(caption)}</figcaption></figure>'
        for image, caption in zip(images, captions, strict=True)
    ]
    return HTML(f'<div style="display: flex; flex-wrap: wrap; gap: 0.75rem; color: inherit">{"".join(tiles)}</div>')


APART = 0.09  # least distance between two drawn images, across or up; the triangle's side is 1
CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])


def simplex_places(weights: Tensor) -> Tensor:
    """Where :func:`simplex` puts weights ``[N, 3]`` on its axes, ``[N, 2]``."""
    return weights.float() @ CORNERS


def simplex(
    weights: Tensor, groups: Tensor, images: Tensor, corners: Sequence[str] = ("expert 1", "expert 2", "expert 3")
) -> Figure:
    """Images by three weights, of experts most often: at a corner one decides alone, in the middle all are the same.

    Args:
        weights: ``[N, 3]``, rows summing to 1.
        groups: shot group of each image, ``[N]``, 0 many, 1 medium, 2 few.
        images: uint8 ``[N, channels, H, W]``, drawn on their points, in their order, as far as there is room.
        corners: what they are called.
    """
    places = simplex_places(weights)
    figure, (ax,) = new_figure(height=4.6)
    ax.fill(*CORNERS.T.tolist(), facecolor="none", edgecolor="#9fb0bd", linewidth=0.8)
    taken = torch.full((1, 2), torch.inf)
    for place, group, image in zip(places, groups.tolist(), images, strict=True):
        if (taken - place).abs().amax(dim=1).min() >= APART:
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
