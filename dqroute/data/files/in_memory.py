"""Pictures in memory, put into files: what reads files reads them, too, and many do not fill the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from dqroute.core.checks import one_line, shown
from dqroute.data.files.decoding import upright_rgb
from dqroute.data.files.reading import instead_of

Pixels = Image.Image | np.ndarray | Tensor
TAKEN = "uint8 pixels, 0 to 255, as an array [H, W] or [H, W, 3] or a tensor [3, H, W]"

SHAPES = ((), (1,), (3,), (4,))  # grey, colour, colour and transparency, which is dropped


@dataclass
class Held:
    """Puts pictures into files of a folder, made squares; ``wrong`` tells of each file what was wrong, or ``""``."""

    place: Path
    square: Callable[[Image.Image], Image.Image]
    wrong: dict[str, str] = field(default_factory=dict)

    def __call__(self, picture: object) -> str:
        """Its file, which is not there if it cannot be decoded; ValueError for what is no picture."""
        image, file = in_pillow(picture), self.place / f"{len(self.wrong)}.ppm"
        self.wrong[str(file)] = ""
        try:
            self.square(upright_rgb(image)).save(file)
        except Exception as error:  # as damaged files, which Pillow reads late, raise almost anything
            self.wrong[str(file)] = one_line(error) or type(error).__name__
        return str(file)


def in_pillow(picture: object) -> Image.Image:
    """A picture in memory as Pillow has it; ValueError unless it is Pillow's or ``TAKEN``."""
    if isinstance(picture, Image.Image):
        return picture
    pixels = picture.detach().cpu().numpy() if isinstance(picture, Tensor) else picture
    if not isinstance(pixels, np.ndarray):
        remedy = f"; {instead}" if (instead := instead_of(picture)) else ""
        raise ValueError(
            f"a picture is the path of a file, a picture of Pillow's, or {TAKEN}; got {shown(picture)}{remedy}"
        )
    if isinstance(picture, Tensor) and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size or pixels.shape[2:] not in SHAPES:
        remedy = "; of floats from 0 to 1 make (255 * pixels).round() as uint8" * (pixels.dtype.kind == "f")
        raise ValueError(f"a picture in memory is {TAKEN}; got {pixels.dtype} {list(pixels.shape)}{remedy}")
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
