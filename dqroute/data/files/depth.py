"""Pictures of more than 8 bits a channel, as microscopes, X-ray tubes and thermal cameras write them, brought to 8."""

from __future__ import annotations

import io
import sys
from math import isqrt
from typing import Any

import numpy as np
from PIL import Image

# Of 16-bit colour Pillow keeps the upper byte alone. Told the other order of bytes, it reads the lower one.
COLOURS = ("RGB", "RGBX", "RGBA")
SWAPPED = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
REST = 0.1  # per cent of a picture's values at either end that may lie outside of the range that is shown


def is_deep(image: Image.Image) -> bool:
    """Whether an opened picture, not yet decoded, has more than 8 bits a channel."""
    return image.mode.startswith(("I", "F")) or any(swapped(tile.args) for tile in getattr(image, "tile", ()))


def deep_values(image: Image.Image) -> np.ndarray:
    """The values of a deep picture, ``[H, W]`` or ``[H, W, 3]``, decoded; colour as uint16."""
    if image.mode.startswith(("I", "F")):
        image.load()
        return np.asarray(image)
    file = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    with Image.open(io.BytesIO(file.read()), formats=(str(image.format),)) as again:
        again.tile = [tile._replace(args=swapped(tile.args)) for tile in again.tile]
        again.load()
        lower = np.asarray(again)[..., :3].astype(np.uint16)
    image.load()
    return np.asarray(image)[..., :3].astype(np.uint16) << 8 | lower


def swapped(args: Any) -> Any:
    """What tells a decoder the order of bytes, turned round; None unless it decodes 16-bit colour."""
    if isinstance(args, tuple):
        raw = args and swapped(args[0])
        return (raw, *args[1:]) if raw else None
    kind, _, order = args.partition(";") if isinstance(args, str) else ("", "", "")
    return f"{kind};{SWAPPED[order]}" if kind in COLOURS and order in SWAPPED else None


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Whole numbers or floats ``[H, W]`` or ``[H, W, 3]`` as uint8: ``255 (v - low) / (high - low)``, cut at both ends.

    ``low`` and ``high`` are the picture's own, all but a thousandth of its values at either end between them, so that
    single hot pixels do not decide; or the least and largest where these are the same. By what the file could hold
    (16 bits), or by the bits that its largest value needs, a 12-bit picture would come out nearly black, and a thermal
    one, whose hundredths of a kelvin run from 29,000 to 31,000 of 65,535, a plain grey. The price is that how bright a
    picture is as a whole is lost, which for such instruments hangs on their exposure. A picture of one value is black.

    ValueError for values that are no finite numbers.
    """
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are no numbers (NaN or infinite); fill them in, or remove the picture")
    step = isqrt(values.size >> 20) or 1  # of a large picture a million or so of its values will do
    some = values[::step, ::step]
    low = np.percentile(some, REST, method="lower").item()
    high = np.percentile(some, 100 - REST, method="higher").item()
    if low == high:
        low, high = values.min().item(), values.max().item()
    # Of 16-bit values there are few: all are worked out once.
    whole = np.arange(1 << 16) if values.dtype == np.uint16 else values
    share = (whole.astype(np.float64) - low) / ((high - low) or 1)
    levels = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    return levels[values] if values.dtype == np.uint16 else levels
