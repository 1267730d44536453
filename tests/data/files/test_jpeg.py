"""Partial decoding: equal to the whole where it counts, and used for nothing it is not made for."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import picture
from PIL import Image

from dqroute.data.files.jpeg import decode_top, plain_header

# How colour is stored (4:4:4, 4:2:2, 4:2:0), restart markers, no colour conversion, grey, no colour.
KINDS = {
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "420": {"subsampling": 2},
    "restarts": {"restart_marker_rows": 1},
    "rgb": {"keep_rgb": True},
    "optimised": {"optimize": True, "quality": 30},
}


def encoded(pixels, **options):
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "JPEG", **options)
    return file.getvalue()


def by_pil(data, reduction=1):
    with Image.open(io.BytesIO(data)) as image:
        if reduction > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(height=st.integers(1, 90), width=st.integers(1, 70), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_rows_above_are_those_of_the_whole_picture(kind, height, width, share, seed):
    data = encoded(picture(height, width, seed), **KINDS[kind])
    header = plain_header(data)
    assert (header.height, header.width) == (height, width)
    bottom = max(1, round(share * height))
    top = decode_top(data, header, bottom)
    assert bottom <= len(top) <= bottom + 2
    assert np.array_equal(top[:bottom], by_pil(data)[:bottom])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", [2, 4, 8])
@settings(max_examples=20)
@given(height=st.integers(16, 90), width=st.integers(16, 90), share=st.floats(0, 1))
def test_so_are_the_rows_of_a_reduced_picture(kind, reduction, height, width, share):
    data = encoded(picture(height, width), **KINDS[kind])
    header = plain_header(data)
    bottom = max(1, round(share * height))
    rows = -(-bottom // reduction)
    top, whole = (decode_top(data, header, end, reduction) for end in (bottom, height))
    assert whole.shape == (-(-height // reduction), -(-width // reduction), 3)
    assert top.shape[1] == whole.shape[1] and len(top) >= rows
    assert np.array_equal(top[:rows], whole[:rows])


def test_a_reduced_picture_is_that_of_pil():
    data = encoded(picture(64, 96))
    assert np.array_equal(decode_top(data, plain_header(data), 64, 4), by_pil(data, 4))


def test_grey_pictures_have_three_equal_channels():
    data = encoded(Image.fromarray(picture(33, 21)).convert("L"))
    top = decode_top(data, plain_header(data), 20)
    assert np.array_equal(top[:20], by_pil(data)[:20])
    assert (top == top[..., :1]).all()


def test_fewer_rows_are_less_work():
    """Only the rows asked for are decoded: whatever stands below is not looked at."""
    data = encoded(picture(400, 100), quality=95)
    header = plain_header(data)
    at = len(data) * 3 // 4
    damaged = data[:at] + bytes(1000) + data[at + 1000 :]
    assert not np.array_equal(by_pil(damaged), by_pil(data))
    assert np.array_equal(decode_top(damaged, header, 100), decode_top(data, header, 100))


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def test_other_kinds_are_left_to_pil():
    pixels = picture(40, 30)
    image = Image.fromarray(pixels)
    png = io.BytesIO()
    image.save(png, "PNG")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    others = {
        "png": png.getvalue(),
        "progressive": encoded(pixels, progressive=True),
        "cmyk": encoded(image.convert("CMYK")),
        "turned": encoded(pixels, **turned(6)),
        "turned by XMP": encoded(pixels, xmp=xmp),
        "empty": b"",
        "start only": b"\xff\xd8",
        "text": b"no image at all",
    }
    for name, data in others.items():
        assert plain_header(data) is None, name
    for name, options in {"upright": turned(1), "plain": {}, "comment": {"comment": "two words"}}.items():
        assert plain_header(encoded(pixels, **options)) is not None, name


@given(st.floats(0, 1))
def test_a_picture_cut_off_anywhere_is_left_to_pil(share):
    data = encoded(picture(40, 30))
    assert plain_header(data[: int(share * (len(data) - 1))]) is None


def test_several_scans_are_left_to_pil():
    """One scan a colour, which is baseline too: the first one says that it holds one of three."""
    data = bytearray(encoded(picture(40, 30)))
    data[data.index(b"\xff\xda") + 4] = 1
    assert plain_header(bytes(data)) is None


def test_what_follows_the_end_does_no_harm():
    data = encoded(picture(40, 30))
    assert plain_header(data + b"a film of two seconds") == plain_header(data)


def test_no_picture_and_one_too_large_are_left_to_pil():
    data = bytearray(encoded(picture(40, 30)))
    at = plain_header(bytes(data)).height_at
    for height, width in ((0, 30), (65_000, 65_000)):
        struct.pack_into(">HH", data, at, height, width)
        assert plain_header(bytes(data)) is None


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_search_for_a_header(tail):
    plain_header(b"\xff\xd8\xff" + tail)
    plain_header(b"\xff\xd8\xff\xe1\x00\x20Exif\0\0" + tail)
    plain_header(b"\xff\xd8\xff\xc0" + tail)
