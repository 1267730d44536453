"""Pieces of HTML for notebooks: escaped text, small tables, pictures. They take the page's colours, light or dark."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

# What becomes of words where there is one.
ONE = {"classes": "class", "pictures": "picture", "files": "file", "groups": "group", "paths": "path", "rows": "row"}
ONE |= {"are": "is", "lie": "lies", "stand": "stands", "say": "says", "hold": "holds", "their": "its"}
SIDE = 64  # usual height of a picture on the page


def escaped(value: object) -> str:
    """Text as HTML, a number beside its per cent sign."""
    return html.escape(str(value)).replace(" %", "&nbsp;%")


def number_of(number: int, what: str = "classes") -> str:
    """How many, in words, which change for one: ``"2 files are"``, ``"1 file is"``."""
    return f"{number:,} {what if number != 1 else ' '.join(ONE.get(word, word) for word in what.split(' '))}"


def box(title: str, *parts: str) -> str:
    """Parts, HTML, below a title, plain text; what is wider than the page scrolls by itself."""
    head = f"<div><b>{escaped(title)}</b></div>" if title else ""
    return f'<div style="color: inherit; overflow-x: auto; line-height: 1.5">{head}{"".join(parts)}</div>'


def line(text: str) -> str:
    """A line of plain text."""
    return f"<div>{escaped(text)}</div>"


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A table of plain texts and numbers; without a ``head`` the first column names the rows."""
    style = "text-align: left; padding: 0.1em 0.5em 0.1em 0; background: none; color: inherit; white-space: normal"

    def line_of(row: Sequence[object], named: int, scope: str) -> str:
        kinds = [f'th scope="{scope}"'] * named + ["td"] * (len(row) - named)
        cells = [f'<{k} style="{style}">{escaped(v)}</{k[:2]}>' for k, v in zip(kinds, row, strict=True)]
        return f'<tr style="background: none">{"".join(cells)}</tr>'

    body = "".join(line_of(row, 0 if head else 1, "row") for row in rows)
    top = f"<thead>{line_of(head, len(head), 'col')}</thead>" if head else ""
    whole = "border-collapse: collapse; margin: 0.3em 0; color: inherit"
    return f'<table style="{whole}">{top}<tbody>{body}</tbody></table>'


def script_data(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """A value as JSON that may stand in a script element; ``default`` as for :func:`json.dumps`."""
    # "</" and "<!--" could end the element early, or too late.
    return json.dumps(value, default=default, ensure_ascii=False).replace("<", "\\u003c")


def address(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """An address that holds the picture's own bytes."""
    file = io.BytesIO()
    image.save(file, format=kind, optimize=True, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def image_of(image: Tensor) -> Image.Image:
    """A uint8 image ``[channels, H, W]`` as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())


def picture(image: Tensor, alt: str, high: int = SIDE) -> str:
    """A uint8 image ``[channels, H, W]`` as an element that holds its own bytes, so many pixels high on the page."""
    seen = image_of(image)
    # What is small is drawn pixel by pixel; of a photograph as much as a dense screen shows.
    small = max(seen.size) <= SIDE
    if not small:
        seen.thumbnail((4 * high, 2 * high))
    source = address(seen) if small else address(seen, "JPEG", quality=80)
    drawn = f"height: {high}px; max-width: 100%; object-fit: contain" + "; image-rendering: pixelated" * small
    return f'<img src="{source}" alt="{html.escape(alt)}" title="{html.escape(alt)}" style="{drawn}">'


def percent(share: float | None) -> str:
    """A share in per cent; a dash for none."""
    return "–" if share is None else f"{100 * share:.1f} %"
