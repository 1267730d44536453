"""Random crops: within the picture and the ranges, spread as asked for, the same for every kind of file."""

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from photos import picture, save_picture
from PIL import Image
from torch.nn import functional as F

from dqroute.data import ResizedCrop
from dqroute.data.files.cropping import Box, draw_box, largest_reduction, random_crop, reduced, resized

WHOLE = ResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)
sides = st.integers(1, 500)


@given(sides, sides, st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.2, 1), st.floats(1, 5), st.integers(0))
def test_boxes_lie_within_the_picture_and_the_ranges(height, width, a, b, narrow, wide, seed):
    scale = (min(a, b), max(a, b))
    top, left, down, across = draw_box(height, width, ResizedCrop(scale, (narrow, wide)), Random(seed))
    assert 0 <= top <= top + down <= height and 0 <= left <= left + across <= width and down > 0 and across > 0
    # Sides are rounded to whole pixels.
    assert (across - 1) / (down + 1) <= wide and (across + 1) / max(down - 1, 1e-9) >= narrow
    # The centred box, where none of the drawn ones fits, may be smaller than asked for.
    if (top, left) != ((height - down) // 2, (width - across) // 2):
        assert (down - 1) * (across - 1) <= scale[1] * height * width
        assert (down + 1) * (across + 1) >= scale[0] * height * width


def test_areas_and_ratios_are_spread_as_asked_for():
    """Boxes of a square fit nearly always: areas uniform, ratios uniform in their logarithm, places uniform."""
    crop, random = ResizedCrop(scale=(0.1, 0.5), ratio=(0.5, 2.0)), Random(0)
    boxes = np.array([draw_box(1000, 1000, crop, random) for _ in range(2000)], dtype=float)
    top, left, down, across = boxes.T
    area, log_ratio = down * across / 1e6, np.log2(across / down)
    # Four standard errors of a uniform variable's mean.
    error = 4 / math.sqrt(12 * 2000)
    assert abs(area.mean() - 0.3) < 0.4 * error and area.min() + 1e-3 >= 0.1 and area.max() - 1e-3 <= 0.5
    assert abs(log_ratio.mean()) < 2 * error and log_ratio.min() > -1.01 and log_ratio.max() < 1.01
    for start, length in ((top, down), (left, across)):
        assert abs((start / (1000 - length)).mean() - 0.5) < error


@pytest.mark.parametrize(("height", "width", "box"), [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))])
def test_where_no_box_fits_the_largest_centred_one_is_taken(height, width, box):
    """Nothing as large as the picture has a ratio up to 4/3: 10 pixels by 13 are the most."""
    assert draw_box(height, width, ResizedCrop(scale=(1.0, 1.0)), Random(0)) == box


def test_a_pixel_is_a_picture():
    assert draw_box(1, 1, ResizedCrop(), Random(0)) == (0, 0, 1, 1)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 300))
def test_reduced_boxes_are_never_smaller_than_the_result(height, width, side):
    box = Box(height % 17, width % 19, height, width)
    reduction = largest_reduction(box, side)
    assert reduction in (1, 2, 4, 8)
    assert reduction == 8 or min(height, width) < 2 * reduction * side
    smaller = reduced(box, reduction)
    assert reduction == 1 or min(smaller.height, smaller.width) >= side
    assert all(abs(value * reduction - whole) <= reduction for value, whole in zip(smaller, box, strict=True))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_resizing_is_that_of_torch_in_floating_point(height, width, side):
    crop = picture(60, 60)[:height, 60 - width :]
    found = resized(crop, side)
    image = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float()
    exact = F.interpolate(image, (side, side), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    assert found.dtype == np.uint8 and found.shape == (side, side, 3)
    # Rounded after each of the two directions.
    assert (torch.from_numpy(found).float() - exact).abs().max() <= 1.5


@pytest.mark.parametrize("seed", range(8))
def test_a_jpeg_gives_what_its_pixels_give(tmp_path, seed):
    """Read down to the crop's last row, or decoded whole by PIL and kept as PNG."""
    save_picture(tmp_path / "a.jpg", 60, 80)
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "a.png")
    partial, whole = (random_crop(tmp_path / name, 32, ResizedCrop(), Random(seed)) for name in ("a.jpg", "a.png"))
    assert np.array_equal(partial, whole)


@pytest.mark.parametrize("side", [8, 20, 40, 150])
@pytest.mark.parametrize("seed", range(5))
def test_the_crop_is_the_box_however_coarsely_it_is_decoded(tmp_path, side, seed):
    """Red grows to the right and green downwards, a level a pixel: the corners tell where the crop lies."""
    size, crop = (240, 250), ResizedCrop((0.3, 1.0), flip=False)
    down, across = np.indices(size)
    pixels = np.stack([across, down, np.full(size, 100)], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    found = random_crop(tmp_path / "a.jpg", side, crop, Random(seed)).astype(float)
    box = draw_box(*size, crop, Random(seed))
    reduction = largest_reduction(box, side)
    assert (reduction > 1) == (side <= 40)
    extent = np.array([box.width, box.height])
    start, step = np.array([box.left, box.top]), extent / side
    # The middles of the corners' pixels; at the border averages reach no further, which shifts them inwards.
    for corner, place in ((found[0, 0, :2], start + step / 2), (found[-1, -1, :2], start + extent - step / 2)):
        assert np.abs(corner - place).max() <= reduction / 2 + step.max() / 4 + 3


def test_flips_happen_half_of_the_time_and_only_when_allowed(tmp_path):
    pixels = save_picture(tmp_path / "a.png", 16, 16)
    seen = [random_crop(tmp_path / "a.png", 16, ResizedCrop((1, 1), (1, 1)), Random(seed)) for seed in range(200)]
    mirrored = sum(np.array_equal(crop, pixels[:, ::-1]) for crop in seen)
    assert mirrored + sum(np.array_equal(crop, pixels) for crop in seen) == 200
    # Binomial(200, ½): four standard deviations are 28.
    assert 72 < mirrored < 128
    assert all(np.array_equal(random_crop(tmp_path / "a.png", 16, WHOLE, Random(s)), pixels) for s in range(20))


def test_every_kind_of_picture_comes_upright_and_in_three_channels(tmp_path):
    image = Image.fromarray(picture(48, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "progressive.jpg", progressive=True, quality=95, subsampling=0)
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    image.convert("L").save(tmp_path / "grey.jpg", quality=95)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    image.convert("RGBA").save(tmp_path / "clear.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    colour, grey = np.asarray(image).astype(int), np.asarray(image.convert("L").convert("RGB")).astype(int)
    upright = np.rot90(colour, -1)
    # Of 16 bits the picture's own range is kept.
    deep = 255 * (grey - grey.min()) / (grey.max() - grey.min())
    wanted = {"progressive.jpg": colour, "turned.jpg": upright, "cmyk.jpg": colour, "clear.png": colour}
    for name, pixels in (wanted | {"grey.jpg": grey, "deep.png": deep}).items():
        found = random_crop(tmp_path / name, 48, WHOLE, Random(0))
        assert np.abs(found - pixels).mean() < 4, name


@pytest.mark.parametrize(
    "wrong", [{"scale": (0, 1)}, {"scale": (0.5, 0.2)}, {"scale": (0.1, 1.5)}, {"ratio": (0, 1)}, {"ratio": (2, 1)}]
)
def test_ranges_out_of_order_are_refused(wrong):
    with pytest.raises(ValueError, match="in order"):
        ResizedCrop(**wrong)
