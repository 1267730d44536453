"""One image file to pixels: any kind, upright, in three channels, a centred square of the side asked for."""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import cache
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.Image import Transpose

from dqroute.data.files.depth import deep_values, is_deep, to_8_bits

# Plain pictures alone: of the others that Pillow knows some start a program, as PostScript does, whatever their name.
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
HEIF, HEIF_ENDINGS = 'pip install "dqroute[heic]"', {".heic", ".heif", ".hif"}  # what reads them, where nothing does
FITS = ("crop", "pad", "stretch")
GREY = (124, 116, 104)  # the mean of ImageNet's pictures
# What brings a picture upright, by the orientation from 2 on that its EXIF tells.
TURNS = (
    *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.TRANSPOSE),
    *(Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
)


@cache
def formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this machine reads: AVIF and others as Pillow was built, HEIF with pillow-heif."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def extensions() -> tuple[str, ...]:
    """How the names of files end that hold such pictures, in lower case, sorted."""
    known = formats()  # before the endings are looked at: pillow-heif enters its own
    return tuple(sorted(end for end, name in Image.registered_extensions().items() if name in known))


def regular(file: Path) -> Path:
    """The file; OSError if it is not there, or a pipe, a socket or a device, which might be waited for without end."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a plain file")
    return file


def opened(file: Path | BinaryIO) -> Image.Image:
    """A picture, not yet decoded; UnidentifiedImageError if it is of none of these formats, whatever its name.

    OSError for a file without a byte, as a full disk or a broken download leaves it.
    """
    try:
        return Image.open(regular(file) if isinstance(file, Path) else file, formats=formats())
    except UnidentifiedImageError:
        if file.stat().st_size if isinstance(file, Path) else file.seek(0, SEEK_END):
            raise
        raise OSError("empty file") from None


def read_rgb(file: Path | BinaryIO, side: int, *, kind: str = "bicubic", fit: str = "crop") -> np.ndarray:
    """An image's (first) frame, upright, made a square and resized: uint8 ``[side, side, 3]``.

    ``kind`` is the interpolation, ``"bicubic"`` or ``"bilinear"``; ``fit``, how it becomes a square: by its middle,
    ``"crop"``; whole, between grey bars, ``"pad"``; or whole and out of proportion, ``"stretch"``. A damaged file
    raises almost anything.
    """
    with opened(file) as image:
        # JPEG can skip detail that the resize would throw away; it keeps at least twice the size asked for.
        image.draft(None, (2 * side, 2 * side))
        return np.array(squared(upright_rgb(image), side, kind, fit))


def squared(rgb: Image.Image, side: int, kind: str, fit: str) -> Image.Image:
    """A picture as a square, see :func:`read_rgb`; itself if it is one of that side."""
    if rgb.size == (side, side):
        return rgb
    method = Image.Resampling[kind.upper()]
    if fit == "stretch":
        return rgb.resize((side, side), method)
    if fit == "pad":
        return ImageOps.pad(rgb, (side, side), method, color=GREY)
    return ImageOps.fit(rgb, (side, side), method)


def upright_rgb(image: Image.Image) -> Image.Image:
    """An opened image as the camera was held, in 8-bit RGB, transparency dropped, more bits brought to 8 by its range.

    See :func:`dqroute.data.files.depth.to_8_bits`.
    """
    # Decoded first, so that a damaged picture is an error here and now; and Pillow itself turns a TIFF meanwhile.
    if is_deep(image):
        rgb = Image.fromarray(to_8_bits(deep_values(image))).convert("RGB")
    else:
        image.load()
        # By way of RGBA, because PIL warns about palettes with transparency otherwise.
        rgb = (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
    turn = orientation(image)
    return rgb.transpose(TURNS[turn - 2]) if turn in range(2, 9) else rgb


def orientation(image: Image.Image) -> int:
    """What its tags tell, 1 for upright.

    Not by ImageOps.exif_transpose, which writes all tags anew and stumbles over any that is not as it should be.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # tags that nobody can read say nothing
        return 1
