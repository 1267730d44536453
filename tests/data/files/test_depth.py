"""Pictures of more than 8 bits: everything that is in them stays to be seen, and colours stay together."""

import struct
import zlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

import dqroute as dq
from dqroute.data.files.cropping import random_crop
from dqroute.data.files.decoding import read_rgb
from dqroute.data.files.depth import to_8_bits


def write_png(file, values):
    """16-bit colour ``[H, W, 3 or 4]``, which Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def write_tiff(file, values, order="<", packed=False):
    """The same as TIFF, in either order of bytes, plain or packed."""
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if packed else pixels
    short = [(258, 16), (259, 8 if packed else 1), (262, 2), (277, channels)]
    tags = sorted(
        [(256, width), (257, height), (273, 8), (278, height), (279, len(pixels)), *short, (338, 2)][: 9 + channels - 3]
    )
    bits = 8 + len(pixels)
    entries = b""
    for tag, value in tags:
        kind, number = (3, channels) if tag == 258 else (4, 1)
        place = struct.pack(f"{order}I", bits if tag == 258 else value)
        entries += struct.pack(f"{order}HHI", tag, kind, number) + place
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, bits + 2 * channels)
    file.write_bytes(start + pixels + struct.pack(f"{order}{channels}H", *[16] * channels) + directory)


def test_values_worked_by_hand():
    assert to_8_bits(np.array([[100, 200, 300]], dtype=np.uint16)).tolist() == [[0, 128, 255]]
    assert to_8_bits(np.array([[-1.0, 0.0], [0.5, 3.0]])).tolist() == [[0, 64], [96, 255]]
    colours = np.array([[[0, 1000, 2000], [4000, 500, 0]]], dtype=np.uint16)
    assert to_8_bits(colours).tolist() == [[[0, 64, 128], [255, 32, 0]]]
    assert to_8_bits(np.array([[7, 7], [7, 7]], dtype=np.int32)).tolist() == [[0, 0], [0, 0]]


def test_a_hot_pixel_does_not_decide_and_is_seen_where_it_is_all_there_is():
    plain = np.arange(10_000, dtype=np.uint16).reshape(100, 100) // 100
    hot = plain.copy()
    hot[50, 50] = 65_535
    assert np.array_equal(np.delete(to_8_bits(hot), 5050), np.delete(to_8_bits(plain), 5050))
    alone = np.full((100, 100), 3, dtype=np.uint16)
    alone[50, 50] = 9
    assert to_8_bits(alone)[50, 50] == 255 and to_8_bits(alone).sum() == 255


KINDS = st.sampled_from([np.uint16, np.int32, np.float32])


@given(KINDS.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=2, max_side=20))))
def test_any_values_keep_their_order_and_no_number_is_an_error(values):
    if not np.isfinite(values).all():
        with pytest.raises(ValueError, match="pixels that are no numbers"):
            to_8_bits(values)
        return
    found = to_8_bits(values).ravel()
    assert (np.diff(found[np.argsort(values.ravel(), kind="stable")].astype(int)) >= 0).all()
    if values.min() < values.max():
        assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
@pytest.mark.parametrize(("low", "high"), [(0, 1023), (0, 4095), (29_000, 31_000), (0, 65_535)])
def test_grey_of_ten_twelve_and_sixteen_bits_and_of_a_thermal_camera(tmp_path, name, low, high):
    values = np.linspace(low, high, 64 * 64).reshape(64, 64)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / name)
    seen = read_rgb(tmp_path / name, 64)
    assert np.abs(seen[..., 0] - 255 * (values - low) / (high - low)).max() < 2
    assert (seen == seen[..., :1]).all()
    assert np.array_equal(random_crop(tmp_path / name, 64, dq.data.ResizedCrop((1, 1), (1, 1), False), Random(0)), seen)


def test_floats_and_32_bits(tmp_path):
    values = np.linspace(-3, 5, 256).reshape(16, 16)
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray((values * 100_000).astype(np.int32)).save(tmp_path / "whole.tif")
    for name in ("float.tif", "whole.tif"):
        assert np.abs(read_rgb(tmp_path / name, 16)[..., 1].ravel() - np.arange(256)).max() <= 1
    values[3, 3] = np.nan
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "gap.tif")
    with pytest.raises(ValueError, match=r"gap\.tif \(it has pixels that are no numbers"):
        dq.read_images([tmp_path / "gap.tif"], 16)


WRITERS = {
    "a.png": write_png,
    "little.tif": write_tiff,
    "big.tif": lambda file, values: write_tiff(file, values, ">"),
    "packed.tif": lambda file, values: write_tiff(file, values, packed=True),
    "packed big.tif": lambda file, values: write_tiff(file, values, ">", packed=True),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("high", [1023, 4095, 65_535])
def test_colour_keeps_its_bits_and_its_hue(tmp_path, name, channels, high):
    values = np.random.default_rng(0).integers(0, high + 1, (32, 32, channels))
    values[0, 0], values[0, 1], values[..., 3:] = high, 0, 65_535
    WRITERS[name](tmp_path / name, values)
    assert np.abs(read_rgb(tmp_path / name, 32) - 255 * values[..., :3] / high).max() < 2


def test_how_many_pictures_have_more_bits_is_said(tmp_path, capsys):
    random = np.random.default_rng(0)
    for of in ("oak", "ash"):
        (tmp_path / of).mkdir()
        for i in range(4):
            pixels = random.integers(0, 4096, (8, 8, 3))
            if i == 0:
                write_png(tmp_path / of / "0.png", pixels)
            else:
                grey = pixels[..., 0].astype(np.uint16 if i == 1 else np.uint8)
                Image.fromarray(grey).save(tmp_path / of / f"{i}.png")
    data = dq.load(f"folder:{tmp_path}", seed=0)
    assert f"{tmp_path.name}: 4 of the pictures have more than 8 bits: each is brought to 8" in capsys.readouterr().out
    assert (data.train.images.flatten(1).max(dim=1).values > 200).all()
