"""Moving parts: figures that answer to a slider, a choice or a pointer, in live Jupyter and in a rendered page alike.

Everything is worked out beforehand: for every position of the controls one drawing, and one sentence that says in
numbers what it shows. In live Jupyter, ipywidgets look them up; in a rendered page, which has no kernel and perhaps no
network, ``moving/table.js`` does. A notebook's output holds both, and whoever displays it takes what it can.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dqroute.data.markup import picture
from dqroute.show.live import embed, style, svg


@dataclass(frozen=True)
class Control:
    """What a reader can move: a :class:`Slider` or a :class:`Choice` among two values or more.

    ``start`` is where it stands at first, one of the values; None is the first.
    """

    label: str
    values: Sequence[Any]
    start: Any = None

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"{self.label!r} needs at least two values to move between; got {list(self.values)}")
        if self.start not in (None, *self.values):
            raise ValueError(f"{self.label!r} cannot start at {self.start!r}; its values are {list(self.values)}")

    @property
    def place(self) -> int:
        """Index of the value it starts at."""
        return 0 if self.start is None else self.values.index(self.start)

    @property
    def shown(self) -> list[str]:
        """What a reader sees of each value, numbers shortly and anything else as it prints."""
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in self.values]

    def live(self) -> ipywidgets.Widget:
        """The control in a running notebook; its value is the index of what it is set to."""
        kind = ipywidgets.SelectionSlider if isinstance(self, Slider) else ipywidgets.Dropdown
        options, style = [(name, k) for k, name in enumerate(self.shown)], {"description_width": "initial"}
        return kind(options=options, value=self.place, description=self.label, style=style, layout={"width": "32rem"})


class Slider(Control):
    """Values in an order: a slider."""


class Choice(Control):
    """Values without an order: a list to choose from."""


@dataclass(frozen=True)
class Moving:
    """A table of drawings and sentences with the controls that move through it; shows itself at the end of a cell.

    Attributes:
        frames: drawing (HTML) and sentence (plain text), a pair a position, the last control running fastest.
        ground: a drawing (HTML) that stays, above the controls.
        points: where a pointer on the ground chooses a frame: x and y, a pair a frame, as shares of the ground's width
            and height, from the upper left corner.
    """

    controls: Sequence[Control]
    frames: Sequence[tuple[str, str]]
    ground: str = ""
    points: Sequence[tuple[float, float]] = ()

    def __repr__(self) -> str:
        return f"<{len(self.frames)} frames by {' × '.join(control.label for control in self.controls)}>"

    def frame_at(self, places: Sequence[int]) -> tuple[str, str]:
        """What is shown at the controls' positions."""
        return self.frames[int(np.ravel_multi_index(tuple(places), [len(c.values) for c in self.controls]))]

    @cached_property
    def live(self) -> ipywidgets.Widget:
        """The controls above, the drawing and the sentence below, as ipywidgets."""
        moved = [control.live() for control in self.controls]
        picture, answer = ipywidgets.HTML().add_class("table-drawing"), ipywidgets.HTML()

        def show(change: object = None) -> None:
            drawing, sentence = self.frame_at([control.value for control in moved])
            picture.value, answer.value = drawing, html.escape(sentence)

        for control in moved:
            control.observe(show, "value")
        show()
        return ipywidgets.VBox([*moved, picture, answer, ipywidgets.HTML(f"<style>{style('table')}</style>")])

    @cached_property
    def static(self) -> str:
        """The same as a piece of a page that needs no kernel, network or other file."""
        controls = [
            {"label": c.label, "names": c.shown, "start": c.place, "slider": isinstance(c, Slider)}
            for c in self.controls
        ]
        told = {"controls": controls, "frames": self.frames, "points": self.points}
        drawing, sentence = self.frame_at([control.place for control in self.controls])
        still = f'<div class="table-ground">{self.ground}</div>{drawing}<p>{html.escape(sentence)}</p>'
        return embed("table", told, still, sentence).page

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Both versions: a running notebook prefers the widget, the book is told to prefer HTML."""
        # A widget cannot be pointed at.
        live = {} if self.points else self.live._repr_mimebundle_(**kwargs)
        return live | {"text/plain": repr(self), "text/html": self.static}


def moving(show: Callable[..., tuple[Figure | str, str]], **controls: Control) -> Moving:
    """Work out what a reader can move with a control, one at least, for each argument of ``show``.

    That is called with a value of each and gives a figure (or a piece of HTML) and a sentence that says in numbers what
    it shows. The sentence also stands for the figure where it cannot be seen.
    """
    if not controls:
        raise ValueError("nothing to move: name a Slider or a Choice for each argument of the function")
    frames = []
    for values in itertools.product(*(control.values for control in controls.values())):
        drawn, sentence = show(**dict(zip(controls, values, strict=True)))
        frames.append((svg(drawn, sentence) if isinstance(drawn, Figure) else drawn, sentence))
    return Moving(list(controls.values()), frames)


def hover(figure: Figure, places: Tensor, images: Tensor, sentences: Sequence[str], alt: str, label: str) -> Moving:
    """Make the points of a figure answer: a pointer, a finger or a slider picks one. Closes the figure.

    Args:
        places: of the points on the figure's first axes, ``[N, 2]``, two or more.
        images: a picture a point, uint8 ``[N, channels, H, W]``; sentences: what each point says, ``N``.
        alt: what a reader who cannot see the figure is told of it.
        label: what a point is; stands beside the slider that steps through them.
    """
    if not len(places) == len(images) == len(sentences) > 1:
        got = f"{len(places)} points, {len(images)} images and {len(sentences)} sentences"
        raise ValueError(f"a figure answers at two points or more, each with an image and a sentence; got {got}")
    figure.canvas.draw()  # settles the layout
    shares = figure.axes[0].transData.transform(places.double().numpy()) / figure.bbox.size
    points = [(round(float(x), 4), round(float(1 - y), 4)) for x, y in shares]
    frames = [(picture(image, sentence), sentence) for image, sentence in zip(images, sentences, strict=True)]
    return Moving([Slider(label, range(1, len(points) + 1))], frames, svg(figure, alt), points)
