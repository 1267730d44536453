"""Figures whose points answer: the pointer, a finger or a slider picks one, and what it stands for is shown.

Everything is in the piece of HTML itself, so that a running notebook and a rendered page, which has no kernel and
perhaps no network, show the same.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dqroute.show.widgets import svg

# A point answers to a pointer this near, in pixels; where several do, the nearest.
REACH = 24
SCRIPT = """
(() => {
  const root = document.getElementById("NAME");
  const points = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const drawing = root.querySelector(".hover-drawing");
  const slider = root.querySelector("input");
  const show = (k) => {
    const [x, y, picture, answer] = points[k];
    slider.value = k;
    slider.setAttribute("aria-valuetext", answer);
    const mark = root.querySelector(".hover-mark");
    mark.style.left = `${100 * x}%`;
    mark.style.top = `${100 * y}%`;
    root.querySelector(".hover-picture").style.backgroundImage = `url(${picture})`;
    root.querySelector(".hover-answer").textContent = answer;
  };
  const point = (event) => {
    const box = drawing.getBoundingClientRect();
    let nearest = REACH, found = null;
    points.forEach(([x, y], k) => {
      const away = Math.hypot(event.clientX - box.left - x * box.width, event.clientY - box.top - y * box.height);
      if (away < nearest) [nearest, found] = [away, k];
    });
    if (found !== null) show(found);
  };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(Number(slider.value));
})();
"""


class Hover:
    """A drawing and its points, each with a picture and a sentence; shows itself at the end of a cell.

    Attributes:
        drawing: an SVG element.
        points: a quadruple each: x and y as shares of the drawing's width and height, from the upper left corner; the
            picture's address; the sentence.
        label: what a point is, beside the slider.
    """

    def __init__(self, drawing: str, points: Sequence[tuple[float, float, str, str]], label: str) -> None:
        self.drawing, self.points, self.label = drawing, list(points), label

    def _repr_html_(self) -> str:
        # Inside a script element, "</" and "<!--" could end it early, or too late.
        data = json.dumps(self.points, ensure_ascii=False).replace("<", "\\u003c")
        name = "hover-" + hashlib.sha256((self.drawing + data).encode()).hexdigest()[:10]
        picture, answer = self.points[0][2:]
        ring = "width: 36px; height: 36px; margin: -18px; border: 3px solid #a23b72; border-radius: 50%"
        return (
            f'<div class="hover" id="{name}"><div class="hover-drawing" style="position: relative; background: white; '
            f'color: black; max-width: 44rem">{self.drawing}<span class="hover-mark" style="position: absolute; '
            f'pointer-events: none; {ring}"></span></div>'
            f'<div><label for="{name}-1">{html.escape(self.label)}</label> <input type="range" id="{name}-1" min="0" '
            f'max="{len(self.points) - 1}" value="0" autocomplete="off" aria-valuetext="{html.escape(answer)}"></div>'
            f'<div style="display: flex; gap: 1rem; align-items: center; min-height: 5rem">'
            f'<div class="hover-picture" style="background: url({picture}) center / contain no-repeat; flex: none; '
            f'width: 64px; height: 64px; image-rendering: pixelated"></div>'
            f'<p class="hover-answer" aria-live="polite">{html.escape(answer)}</p></div>'
            f'<script type="application/json">{data}</script>'
            f"<script>{SCRIPT.replace('NAME', name).replace('REACH', str(REACH))}</script></div>"
        )


def hover(figure: Figure, places: Tensor, images: Tensor, sentences: Sequence[str], alt: str, label: str) -> Hover:
    """Make the points of a figure answer, and close the figure.

    Args:
        figure: with one pair of axes.
        places: of the points on these axes, ``[N, 2]``.
        images: a picture a point, uint8 ``[N, channels, H, W]``.
        sentences: what each point says, ``N``.
        alt: what a reader who cannot see the figure is told of it.
        label: what a point is; stands beside the slider that steps through them.

    Raises:
        ValueError: if there is no point, or not one image and sentence for each.
    """
    if not len(places) == len(images) == len(sentences) or len(places) == 0:
        raise ValueError(
            f"a figure answers at one point or more, each with an image and a sentence; "
            f"got {len(places)} points, {len(images)} images and {len(sentences)} sentences"
        )
    figure.canvas.draw()  # settles the layout
    (axes,) = figure.axes
    shares = axes.transData.transform(places.double().numpy()) / figure.bbox.size
    points = [
        (round(float(x), 4), round(float(1 - y), 4), as_address(image), sentence)
        for (x, y), image, sentence in zip(shares, images, sentences, strict=True)
    ]
    return Hover(svg(figure, alt), points, label)


def as_address(image: Tensor) -> str:
    """A uint8 image ``[channels, H, W]`` as the address of a PNG that holds its own bytes."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
