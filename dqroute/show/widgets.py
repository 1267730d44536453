"""Moving parts: figures that answer to a slider or a choice, in live Jupyter and in a rendered page alike.

Everything is worked out beforehand: for every position of the controls one drawing, and one sentence that says in
numbers what it shows. In live Jupyter, ipywidgets look them up; in a rendered page, which has no kernel, a few lines of
script do. A notebook's output holds both, and whoever displays it takes what it can use.
"""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Looks up the frame at the controls' positions, the last control running fastest, as itertools.product counts.
SCRIPT = """
(() => {
  const root = document.getElementById("NAME");
  const { names, frames } = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const controls = [...root.querySelectorAll("input, select")];
  const show = () => {
    let place = 0;
    controls.forEach((control, k) => {
      const name = names[k][control.value];
      place = place * names[k].length + Number(control.value);
      if (control.type !== "range") return;
      control.setAttribute("aria-valuetext", name);
      control.nextElementSibling.textContent = name;
    });
    const [drawing, answer] = frames[place];
    root.querySelector(".moving-drawing").innerHTML = drawing;
    root.querySelector(".moving-answer").textContent = answer;
  };
  // A browser may restore a control's position from an earlier visit without saying so.
  controls.forEach((control) => control.addEventListener("input", show));
  show();
})();
"""


@dataclass(frozen=True)
class Control:
    """One thing that a reader can move.

    Attributes:
        label: what it is called beside the control.
        values: what it can be set to, at least two.
        start: one of them, where it stands at first; None is the first.
        names: how the values are shown; None shows numbers shortly and anything else as it prints.
    """

    label: str
    values: Sequence[Any]
    start: Any = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"{self.label!r} needs at least two values to move between; got {list(self.values)}")
        if self.names is not None and len(self.names) != len(self.values):
            raise ValueError(f"{self.label!r} has {len(self.values)} values and {len(self.names)} names for them")
        if self.start is not None and self.start not in self.values:
            raise ValueError(f"{self.label!r} cannot start at {self.start!r}; its values are {list(self.values)}")

    @property
    def place(self) -> int:
        """Index of the value it starts at."""
        return 0 if self.start is None else list(self.values).index(self.start)

    @property
    def shown(self) -> list[str]:
        """The values' names."""
        if self.names is not None:
            return list(self.names)
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in self.values]

    def live(self) -> ipywidgets.Widget:
        """The control in a running notebook; its value is the index of what it is set to."""
        raise NotImplementedError

    def static(self, name: str) -> str:
        """The control in a page, under an id."""
        raise NotImplementedError


class Slider(Control):
    """Values in an order: a slider."""

    def live(self) -> ipywidgets.Widget:
        options = list(zip(self.shown, range(len(self.values)), strict=True))
        return ipywidgets.SelectionSlider(
            options=options, value=self.place, description=self.label, style={"description_width": "initial"}
        )

    def static(self, name: str) -> str:
        label, shown = html.escape(self.label), html.escape(self.shown[self.place])
        return (
            f'<label for="{name}">{label}</label> <input type="range" id="{name}" min="0" max="{len(self.values) - 1}" '
            f'step="1" value="{self.place}" autocomplete="off" aria-valuetext="{shown}"> '
            f'<output for="{name}">{shown}</output>'
        )


class Choice(Control):
    """Values without an order: a list to choose from."""

    def live(self) -> ipywidgets.Widget:
        options = list(zip(self.shown, range(len(self.values)), strict=True))
        return ipywidgets.Dropdown(
            options=options, value=self.place, description=self.label, style={"description_width": "initial"}
        )

    def static(self, name: str) -> str:
        options = "".join(
            f'<option value="{k}"{" selected" * (k == self.place)}>{html.escape(shown)}</option>'
            for k, shown in enumerate(self.shown)
        )
        label = html.escape(self.label)
        return f'<label for="{name}">{label}</label> <select id="{name}" autocomplete="off">{options}</select>'


class Moving:
    """A table of drawings and sentences with the controls that move through it; shows itself at the end of a cell.

    Attributes:
        controls: in the order of the table's axes.
        frames: drawing (HTML) and sentence (plain text), a pair a position, the last control running fastest.
    """

    def __init__(self, controls: Sequence[Control], frames: Sequence[tuple[str, str]]) -> None:
        self.controls, self.frames = list(controls), list(frames)

    @property
    def start(self) -> int:
        """Index of the frame that is shown at first."""
        return self.frame_at([control.place for control in self.controls])

    def frame_at(self, places: Sequence[int]) -> int:
        """Index of the frame at the controls' positions."""
        index = 0
        for control, place in zip(self.controls, places, strict=True):
            index = index * len(control.values) + place
        return index

    @cached_property
    def live(self) -> ipywidgets.Widget:
        """The controls above, the drawing and the sentence below, as ipywidgets."""
        moved = [control.live() for control in self.controls]
        picture, answer = ipywidgets.HTML(), ipywidgets.HTML()

        def show(change: object = None) -> None:
            drawing, sentence = self.frames[self.frame_at([control.value for control in moved])]
            picture.value, answer.value = drawing, html.escape(sentence)

        for control in moved:
            control.observe(show, "value")
        show()
        return ipywidgets.VBox([*moved, picture, answer])

    @cached_property
    def static(self) -> str:
        """The same as a piece of a page that needs no kernel, network or other file."""
        frames, names = self.frames, [control.shown for control in self.controls]
        # Inside a script element, "</" and "<!--" could end it early, or too late.
        data = json.dumps({"names": names, "frames": frames}, ensure_ascii=False).replace("<", "\\u003c")
        name = "moving-" + hashlib.sha256(data.encode()).hexdigest()[:10]
        controls = "".join(
            f"<div>{control.static(f'{name}-{k}')}</div>" for k, control in enumerate(self.controls, start=1)
        )
        drawing, sentence = frames[self.start]
        return (
            f'<div class="moving" id="{name}"><div class="moving-controls">{controls}</div>'
            f'<div class="moving-drawing" style="background: white; color: black; max-width: 44rem">{drawing}</div>'
            f'<p class="moving-answer" aria-live="polite">{html.escape(sentence)}</p>'
            f'<script type="application/json">{data}</script><script>{SCRIPT.replace("NAME", name)}</script></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Both versions: a running notebook prefers the widget, the book is told to prefer HTML."""
        return self.live._repr_mimebundle_(**kwargs) | {"text/html": self.static}


def moving(show: Callable[..., tuple[Figure | str, str]], **controls: Control) -> Moving:
    """Work out what a reader can move.

    Args:
        show: called with one value of each control, by name; gives a figure (or a piece of HTML) and a sentence that
            says in numbers what it shows. The sentence also stands for the figure where it cannot be seen.
        controls: a control for each argument of ``show``.

    Raises:
        ValueError: if there is no control.
    """
    if not controls:
        raise ValueError("nothing to move: name a Slider or a Choice for each argument of the function")
    frames = []
    for values in itertools.product(*(control.values for control in controls.values())):
        drawn, sentence = show(**dict(zip(controls, values, strict=True)))
        frames.append((svg(drawn, sentence) if isinstance(drawn, Figure) else drawn, sentence))
    return Moving(list(controls.values()), frames)


def svg(figure: Figure, alt: str) -> str:
    """A figure as a small SVG element that grows with the page, and closes the figure.

    Args:
        figure: from :mod:`dqroute.show`.
        alt: what a reader who cannot see it is told.
    """
    file = io.StringIO()
    # Text as text, and no random ids: the same figure gives the same bytes.
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dqroute", "font.sans-serif": ["DejaVu Sans"]}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = file.getvalue()
    # The style element would speak to the whole page.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\n\s*", " ", text[text.index("<svg") :])
    # An id counts once on a page: keep those that something in the drawing refers to.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    # A tenth of a point is finer than a screen shows.
    text = re.sub(r' (?:d|x|y)="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), text)
    text = re.sub(r' transform="rotate\(-0 [^"]*"|<defs>\s*</defs>', "", text)
    head = f'<svg role="img" aria-label="{html.escape(alt)}" style="width: 100%; height: auto"'
    tag, rest = text.split(">", 1)
    return re.sub(r' (?:width|height)="[^"]*"', "", tag).replace("<svg", head, 1) + ">" + rest
