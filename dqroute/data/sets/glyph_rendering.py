"""From a character and a few numbers to a small picture of it.

Each character is drawn once per typeface, large, by PIL; every image is then a warped, inked and noisy view of such
a mask, computed for many images at a time. An image depends only on its class and its row of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from dqroute.data.draw import generator

# Raise whenever the same call would give other pixels: it is part of every glyph set's identity.
VERSION = 1

# Greek without the omicron and the capitals that are drawn like Latin letters, and without the final sigma.
CHARACTERS = tuple(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzαβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ&@#%$"
)
# One of each style stays unseen in training: upright sans, oblique sans, monospaced, bold serif, italic serif.
TEST_TYPEFACES = ("cmss10", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif-Bold", "STIXGeneralItalic")
TRAIN_TYPEFACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-BoldItalic", "DejaVuSerif-Italic", "STIXGeneral",
    "STIXGeneralBol", "STIXGeneralBolIta", "cmb10", "cmr10", "cmti10", "cmtt10",
)  # fmt: skip
# Computer Modern claims ASCII codes for other signs: the italic's dollar is a pound.
MISLABELLED = {("cmti10", "$")}

NUISANCES = 11  # numbers that decide one image, in the order in which `render` unpacks them
CAP_HEIGHT = 0.58  # of the canvas; leaves room for descenders and for the random scale
BASELINE = 0.69  # of the canvas, from the top
BATCH = 256  # small enough to stay in cache


def typeface_file(name: str) -> Path:
    """Where matplotlib keeps a typeface; FileNotFoundError if this matplotlib ships without it."""
    import matplotlib  # here, because other sets need it not

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    if not path.is_file():
        raise FileNotFoundError(f"matplotlib {matplotlib.__version__} has no typeface {name}; install another version")
    return path


@cache
def code_points(name: str) -> frozenset[int]:
    """What a typeface can draw by its own character map."""
    from fontTools.ttLib import TTFont

    with TTFont(typeface_file(name), lazy=True) as font:
        return frozenset(font.getBestCmap() or ())


@lru_cache(maxsize=2)
def masks(typefaces: tuple[str, ...], canvas: int, characters: Sequence[str] = CHARACTERS) -> tuple[Tensor, Tensor]:
    """Every character in every typeface that has it, 255 inside the strokes, as drawn and one pixel bolder all round.

    uint8 ``[M, 2, canvas, canvas]``; and int64 ``[C, 2]``, first mask and number of masks of each character, which must
    have one (ValueError). Characters stand on one baseline, and typefaces are scaled to one height of the capital H, so
    that ``c`` stays smaller than ``C`` whatever the typeface.
    """
    fonts = {}
    for name in typefaces:
        # The basic layout engine is part of every Pillow; the other one may be missing or shape differently.
        font = ImageFont.truetype(str(typeface_file(name)), 200, layout_engine=ImageFont.Layout.BASIC)
        _, top, _, bottom = font.getbbox("H", anchor="ls")
        fonts[name] = font.font_variant(size=round(200 * CAP_HEIGHT * canvas / (bottom - top)))
    drawn: list[Tensor] = []
    spans = []
    for character in characters:
        first = len(drawn)
        for name, font in fonts.items():
            if ord(character) in code_points(name) and (name, character) not in MISLABELLED:
                image = Image.new("L", (canvas, canvas))
                left, _, right, _ = font.getbbox(character, anchor="ls")
                place = (canvas / 2 - (left + right) / 2, canvas * BASELINE)
                ImageDraw.Draw(image).text(place, character, fill=255, font=font, anchor="ls")
                drawn.append(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8))
        if len(drawn) == first:
            raise ValueError(f"none of the typefaces {', '.join(typefaces)} has the character {character!r}")
        spans.append((first, len(drawn) - first))
    thin = torch.stack(drawn).view(-1, canvas, canvas)
    with one_thread():
        bold = F.max_pool2d(thin.float(), 3, stride=1, padding=1).byte()
    return torch.stack([thin, bold], dim=1), torch.tensor(spans)


def draw_nuisances(per_class: int, *key: object) -> Tensor:
    """Uniform numbers in [0, 1) that decide ``per_class`` images of every class, float32 ``[C, per_class, NUISANCES]``.

    The first images of a class are the same however many are drawn.
    """
    rows = [torch.rand(per_class, NUISANCES, generator=generator("glyphs", *key, c)) for c in range(len(CHARACTERS))]
    return torch.stack(rows)


def render(
    labels: Tensor, nuisances: Tensor, typefaces: tuple[str, ...], size: int, characters: Sequence[str] = CHARACTERS
) -> Tensor:
    """Draw images: uint8 ``[N, 1, size, size]``, light strokes on a dark ground.

    Args:
        labels: int64 ``[N]``, places in ``characters``.
        nuisances: ``[N, NUISANCES]`` in [0, 1): typeface, rotation (±12°), scale (0.85 to 1.15), shear (±0.15), two
            shifts (±2 pixels of 32), stroke weight, ink level, ground level, and two for the noise.
        characters: a string or a tuple; others than the classes make outsiders. ValueError if no typeface has one.
    """
    atlas, spans = masks(typefaces, 2 * size, characters)
    first, number = spans[labels].unbind(1)
    chosen = first + (nuisances[:, 0] * number).long()
    images = torch.empty(len(labels), 1, size, size, dtype=torch.uint8)
    with one_thread():
        for start in range(0, len(labels), BATCH):
            part = slice(start, start + BATCH)
            images[part, 0] = view(atlas[chosen[part]], nuisances[part], size)
    return images


def view(masks: Tensor, u: Tensor, size: int) -> Tensor:
    """Warp, ink and add noise: masks ``[B, 2, canvas, canvas]`` and nuisances to uint8 ``[B, size, size]``."""
    # Image to mask coordinates, which run from -1 to 1, so that 2 of 32 pixels are 2/16.
    angle = (2 * u[:, 1] - 1) * math.radians(12)
    zoom = 1 / (0.85 + 0.3 * u[:, 2])
    shear = (2 * u[:, 3] - 1) * 0.15
    shift = (2 * u[:, 4:6] - 1) * (2 / 16)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([cos, shear * cos - sin, shift[:, 0], sin, shear * sin + cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), [len(u), 2, size, size], align_corners=False)
    warped = F.grid_sample(masks.float().div_(255), grid, align_corners=False)
    weight, ink, ground = (u[:, k].view(-1, 1, 1) for k in (6, 7, 8))
    stroke = torch.lerp(warped[:, 0], warped[:, 1], weight)
    dark, light = 0.25 * ground, 0.6 + 0.4 * ink
    top, left = (u[:, 9:] * (15 * size)).long().unbind(1)
    noise = noise_field(size)[top, left]
    return (dark + (light - dark) * stroke + noise).clamp_(0, 1).mul_(255).byte()


@lru_cache(maxsize=2)
def noise_field(size: int) -> Tensor:
    """Every cut of one sheet of Gaussian noise (deviation 0.06), float ``[15 size + 1, 15 size + 1, size, size]``."""
    sheet = 0.06 * torch.randn(16 * size, 16 * size, generator=generator("glyph noise", size))
    return sheet.unfold(0, size, 1).unfold(1, size, 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small tensor operations on one thread.

    Of many short operations each would wait for the slower thread where another process keeps a core busy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
