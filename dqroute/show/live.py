"""Figures that live in the page: our own scripts in ``moving/``, which need no kernel, no network and no other file.

A figure is ``moving/NAME.js`` and, where it is long, ``moving/NAME_PART.js``, with ``moving/NAME.css`` if it has a look
of its own; ``moving/base.js`` says what such a file may use, ``moving/softmax.js`` is for those that train. What it
shows is worked out in the reader's browser, of data that stand in the page. Until a script runs, and in print, a still
picture stands for it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dqroute.data.markup import script_data
from dqroute.show.style import EXPERT_COLOURS, GROUP_COLOURS

FOLDER = Path(__file__).with_name("moving")
DTYPES = ("int8", "uint8", "uint16", "int32", "float32")
_EXPERTS = {f"expert-{k}": colour for k, colour in enumerate(EXPERT_COLOURS[:3], start=1)}
LIGHT = {"ink": "#222832", "quiet": "#5a6270", "grid": "#e6e8ec", "line": "#8a919d", "paper": "#ffffff"}
LIGHT |= {"accent": "#a23b72"} | GROUP_COLOURS | _EXPERTS
# The same, lighter where the ground is dark.
DARK = {"ink": "#dde1e8", "quiet": "#a3acba", "grid": "#303843", "line": "#6f7989", "paper": "#14181e"}
DARK |= {"accent": "#e58fbb", "many": "#7fa6e3", "medium": "#3cbfae", "few": "#f2a541"}
DARK |= {"expert-1": "#c9ced6", "expert-2": "#d4609c", "expert-3": "#eba6c5"}
# The book and JupyterLab say on html and body whether they are dark; elsewhere the reader's system does.
DARK_PAGE = ':is(html[data-theme="dark"], body[data-jp-theme-light="false"]) .dq-moving'
DARK_SYSTEM = "html:not([data-theme]) body:not([data-jp-theme-light]) .dq-moving"


@dataclass(frozen=True)
class Live:
    """A piece of a page that holds a moving figure, its data and its still picture; shows itself at a cell's end."""

    name: str
    page: str

    def __repr__(self) -> str:
        return f"<moving figure {self.name}, {len(self.page) / 1e6:.1f} MB>"

    def _repr_html_(self) -> str:
        return self.page


def embed(name: str, data: Mapping[str, Any], still: Figure | str, alt: str) -> Live:
    """A moving figure as a piece of a page.

    Args:
        name: of a file in ``show/moving``, without its ending.
        data: what the figure is given: numbers, strings, lists, dicts, and arrays of one of ``DTYPES``.
        still: what stands for it in print and where no script runs, a figure (it is closed) or a piece of HTML.
        alt: the finding, in a sentence: what is said to who cannot see either.
    """
    figures = sorted({file.stem.partition("_")[0] for file in FOLDER.glob("*.js")} - {"base", "softmax"})
    if name not in figures:
        raise ValueError(f"unknown moving figure {name!r}; there are {', '.join(figures)}")
    told = script_data(data, packed)
    picture = svg(still, alt) if isinstance(still, Figure) else still
    key = f"moving-{name}-{hashlib.sha256((told + picture + alt).encode()).hexdigest()[:10]}"
    shared = ["base", "softmax"] if (FOLDER / f"{name}_worker.js").is_file() else ["base"]
    files = [FOLDER / f"{file}.js" for file in (*shared, *sorted(p.stem for p in FOLDER.glob(f"{name}_*.js")), name)]
    script = "\n".join(file.read_text(encoding="utf-8").strip() for file in files)
    page = f'<div class="dq-moving" id="{key}" role="figure" aria-label="{html.escape(alt)}">\n'
    page += f"<style>{style(name)}</style>\n"
    page += f'<div class="dq-still">{picture}</div>\n<script type="application/json">{told}</script>\n'
    page += f'<script>\n(() => {{\n{script}\ndq.start("{name}", "{key}");\n}})();\n</script>\n</div>'
    return Live(name, page)


def style(name: str) -> str:
    """The style sheet of all moving figures, and what one of them has beyond it."""
    light, dark = (" ".join(f"--dq-{k}: {v};" for k, v in colours.items()) for colours in (LIGHT, DARK))
    sheet = f".dq-moving {{ {light} }}\n{DARK_PAGE} {{ {dark} }}\n"
    sheet += f"@media (prefers-color-scheme: dark) {{ {DARK_SYSTEM} {{ {dark} }} }}\n"
    files = [file for file in (FOLDER / "base.css", FOLDER / f"{name}.css") if file.is_file()]
    return sheet + "\n".join(file.read_text(encoding="utf-8") for file in files)


def packed(value: Any) -> Any:
    """What JSON does not know: arrays as their bytes, little-endian, numbers of numpy; TypeError for all else."""
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray) or value.dtype.name not in DTYPES:
        what = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(
            f"a moving figure takes numbers, strings, lists, dicts and arrays of {', '.join(DTYPES)}; got {what}"
        )
    raw = value.astype(value.dtype.newbyteorder("<")).tobytes()
    return {"dtype": value.dtype.name, "shape": list(value.shape), "base64": base64.b64encode(raw).decode()}


def svg(figure: Figure, alt: str) -> str:
    """A figure as a small SVG element that grows with the page, and for who cannot see it says ``alt``; closes it."""
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
    head = f'<svg role="img" aria-label="{html.escape(alt)}" style="display: block; width: 100%; height: auto"'
    tag, rest = text.split(">", 1)
    return re.sub(r' (?:width|height)="[^"]*"', "", tag).replace("<svg", head, 1) + ">" + rest
