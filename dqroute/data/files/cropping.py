"""Random crops of photographs, resized to one square: which part of a picture is taken, and how it is read."""

from __future__ import annotations

import io
import math
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from torch.nn import functional as F

from dqroute.data.files.decoding import opened, orientation, regular, upright_rgb
from dqroute.data.image_set import ResizedCrop


class Box(NamedTuple):
    """A part of a picture in pixels."""

    top: int
    left: int
    height: int
    width: int


def random_crop(file: Path, side: int, augmentation: ResizedCrop, random: Random) -> np.ndarray:
    """A part of a picture, which ``random`` decides, resized: uint8 ``[side, side, 3]``; damage raises anything."""
    data = regular(file).read_bytes()
    with opened(io.BytesIO(data)) as image:
        plain = image.format == "JPEG" and image.mode in ("L", "RGB") and orientation(image) == 1
        pixels = None if plain else np.array(upright_rgb(image))
        height, width = (image.height, image.width) if pixels is None else pixels.shape[:2]
    box = draw_box(height, width, augmentation, random)
    if pixels is None:
        # In seven tenths of the time that PIL takes; detail that the crop would throw away is left undecoded.
        r = largest_reduction(box, side)
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=-(-height // r), min_width=-(-width // r))
        box = reduced(box, r)
    square = resized(pixels[box.top : box.top + box.height, box.left : box.left + box.width], side)
    return square[:, ::-1] if augmentation.flip and random.random() < 0.5 else square


def draw_box(height: int, width: int, augmentation: ResizedCrop, random: Random) -> Box:
    """A box of random size, shape and place within a picture of so many pixels.

    Its area is uniform in ``augmentation.scale`` as a share of the picture's, the logarithm of its width over height
    uniform in ``augmentation.ratio``. Where ten such boxes stick out of the picture, the largest centred one within
    the ratios is taken.
    """
    low, high = (math.log(ratio) for ratio in augmentation.ratio)
    for _ in range(10):
        area = height * width * random.uniform(*augmentation.scale)
        ratio = math.exp(random.uniform(low, high))
        down, across = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < down <= height and 0 < across <= width:
            return Box(random.randint(0, height - down), random.randint(0, width - across), down, across)
    narrow, wide = augmentation.ratio
    down, across = min(height, max(1, round(width / narrow))), min(width, max(1, round(height * wide)))
    return Box((height - down) // 2, (width - across) // 2, down, across)


def largest_reduction(box: Box, side: int) -> int:
    """By how much a box may be reduced while it is decoded, to no less than ``side``: 1, 2, 4 or 8."""
    return next((r for r in (8, 4, 2) if min(box.height, box.width) >= r * side), 1)


def reduced(box: Box, reduction: int) -> Box:
    """The same box in a picture reduced while it is decoded, its edges at the nearest pixels."""
    top, left, bottom, right = (
        (edge + reduction // 2) // reduction for edge in (box.top, box.left, box.top + box.height, box.left + box.width)
    )
    return Box(top, left, bottom - top, right - left)


def resized(crop: np.ndarray, side: int) -> np.ndarray:
    """uint8 ``[H, W, 3]`` to ``[side, side, 3]``, bilinear, averaging where the picture shrinks."""
    # In whole numbers, and with channels last, which torch only recognises in a tensor without gaps: 4 to 20 times
    # as fast as otherwise.
    image = torch.from_numpy(np.ascontiguousarray(crop))[None].permute(0, 3, 1, 2)
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
