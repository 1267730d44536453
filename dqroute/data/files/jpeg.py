"""Plain JPEG files, read no further down and no finer than a crop needs.

A baseline JPEG is decoded row by row from the top. A header that claims fewer rows makes the decoder stop there, and
the rows above come out as they would have. Most photographs are of this kind; the others are left to PIL.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

BASELINE, APP1, SCAN = 0xC0, 0xE1, 0xDA
# The other kinds of frame: extended, progressive, lossless and arithmetic. C4, C8 and CC are no frames.
OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Header(NamedTuple):
    """Height and width in pixels, and the position of the two bytes that hold the height."""

    height: int
    width: int
    height_at: int


def plain_header(data: bytes) -> Header | None:
    """The header of a JPEG that :func:`decode_top` may read, or None.

    It may if the picture is baseline, 8-bit, grey or of three components in a single scan, upright, not cut off, and
    of a size that PIL would not take for an attack.
    """
    at, header, components = 2, None, 0
    # The last segment of interest is the scan's; ten bytes hold the fields of any.
    while data.startswith(b"\xff\xd8") and at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        body = at + 4
        if marker == BASELINE:
            precision, height, width, components = struct.unpack_from(">BHHB", data, body)
            fits = 0 < height * width <= (Image.MAX_IMAGE_PIXELS or 2**31)
            if precision != 8 or components not in (1, 3) or not fits:
                return None
            header = Header(height, width, body + 1)
        elif marker in OTHER_FRAMES or (marker == APP1 and may_be_turned(data[body : at + 2 + length])):
            return None
        elif marker == SCAN:
            return header if data[body] == components and data.rfind(b"\xff\xd9", body) > 0 else None
        at += 2 + length
    return None


def may_be_turned(segment: bytes) -> bool:
    """Whether an APP1 segment (EXIF or XMP) tells of another orientation than upright."""
    if not segment.startswith(b"Exif\0\0"):
        return b"tiff:Orientation" in segment
    exif = Image.Exif()
    try:
        exif.load(segment)
        return exif.get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # damaged EXIF raises almost anything; PIL decides what to make of it
        return True


def decode_top(data: bytes, header: Header, bottom: int, reduction: int = 1) -> np.ndarray:
    """The upper part of a picture, ``bottom`` of its rows (from 1).

    Args:
        reduction: 1, 2, 4 or 8: pixels a side that become one, by leaving fine detail undecoded.

    Returns:
        uint8 ``[H, W, 3]``: ``bottom / reduction`` rows rounded up, or some more, equal to those of the whole picture,
        and the width divided by ``reduction``, rounded up.

    Raises:
        ValueError: if the data are damaged beyond decoding.
    """
    # Colour is stored at half the resolution and smoothed between its rows: one of those more than is wanted.
    rows = min(header.height, bottom + 2 * reduction)
    shortened = bytearray(data)
    struct.pack_into(">H", shortened, header.height_at, rows)
    least = {"min_height": -(-rows // reduction), "min_width": -(-header.width // reduction)}
    # Not strict: the rows that were skipped count as rubbish before the end of the file.
    return simplejpeg.decode_jpeg(bytes(shortened), "RGB", strict=False, **least)
