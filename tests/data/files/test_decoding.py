"""One picture to pixels: upright as Pillow turns it, whatever its tags are like."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

import dqroute as dq
from dqroute.data.files import decoding
from dqroute.data.files.decoding import extensions, formats, read_rgb, upright_rgb

RED = (255, 0, 0)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_every_orientation_is_turned_once_as_pillow_turns_it(tmp_path, ending):
    """The eight ways a camera may be held."""
    corner = Image.new("RGB", (16, 24))
    corner.paste(RED, (0, 0, 4, 12))
    file = tmp_path / f"photo.{ending}"
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        corner.save(file, exif=exif)
        with Image.open(file) as image:
            turned = np.asarray(ImageOps.exif_transpose(image))
        with Image.open(file) as image:
            assert np.array_equal(np.asarray(upright_rgb(image)), turned), orientation


def test_a_tag_that_is_not_as_it_should_be_does_not_refuse_a_turned_photograph(tmp_path):
    """A camera's name written as a fraction: Pillow cannot write such tags anew."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    Image.new("RGB", (16, 8), RED).save(tmp_path / "photo.jpg", exif=exif)
    content = (tmp_path / "photo.jpg").read_bytes()
    # XResolution's number is given to Model, whose value has to be text.
    changed = content.replace(b"\x01\x1a\x00\x05", b"\x01\x10\x00\x05").replace(
        b"\x1a\x01\x05\x00", b"\x10\x01\x05\x00"
    )
    assert changed != content
    (tmp_path / "photo.jpg").write_bytes(changed)
    with Image.open(tmp_path / "photo.jpg") as image, pytest.raises(Exception):  # noqa: B017
        ImageOps.exif_transpose(image)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert upright_rgb(image).size == (8, 16)


def test_tags_that_nobody_can_read_say_nothing(tmp_path):
    Image.new("RGB", (16, 8), RED).save(tmp_path / "photo.png", exif=b"Exif\0\0no tags at all")
    with Image.open(tmp_path / "photo.png") as image, pytest.raises(SyntaxError):
        image.getexif()
    assert read_rgb(tmp_path / "photo.png", 8).shape == (8, 8, 3)


def test_a_program_for_a_printer_is_no_picture_whatever_its_name(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for it."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("a program was started"))
    (tmp_path / "holiday.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\nshowpage\n")
    with pytest.raises(UnidentifiedImageError):
        read_rgb(tmp_path / "holiday.png", 8)
    assert not {"EPS", "WMF", "FITS", "MPEG"} & set(formats())


ENDINGS = [".jpg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".bmp", ".gif"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_pictures_of_every_kind_are_read(tmp_path, ending):
    assert ending in extensions()
    Image.new("RGB", (16, 8), RED).save(tmp_path / f"photo{ending}")
    assert np.abs(read_rgb(tmp_path / f"photo{ending}", 8).astype(int) - RED).max() < 8


@pytest.mark.parametrize("ending", [".heic", ".heif"])
def test_photographs_of_telephones_are_read_with_the_extra(tmp_path, ending):
    pytest.importorskip("pillow_heif")
    assert "HEIF" in formats() and ending in extensions()
    Image.new("RGB", (64, 64), RED).save(tmp_path / f"photo{ending}", format="HEIF")
    assert np.abs(read_rgb(tmp_path / f"photo{ending}", 8).astype(int) - RED).max() < 8


@pytest.mark.parametrize("ask", ["extensions", "formats"])
def test_kinds_and_endings_may_be_asked_for_in_any_order(ask):
    """In a process of its own: the first question enters pillow-heif where it is installed."""
    code = f"from dqroute.data.files.decoding import formats, extensions; {ask}(); assert formats() and extensions()"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def without_heif(monkeypatch):
    """As where the extra is not installed."""
    for known in (formats, extensions):
        known.cache_clear()
    # What an earlier call entered stays with Pillow.
    monkeypatch.setattr(decoding, "FORMATS", tuple(name for name in decoding.FORMATS if name != "HEIF"))
    yield
    for known in (formats, extensions):
        known.cache_clear()


def test_without_the_extra_it_is_named(tmp_path, without_heif):
    for name in ("a.png", "b.png", "c.HEIC", "d.heif"):
        for of in ("oak", "ash"):
            (tmp_path / of).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (len(of + name), ord(name[0]), ord(of[0]))).save(tmp_path / of / name, "PNG")
    with pytest.warns(UserWarning, match=r'left out: 2 .heic, 2 .heif; pip install "dqroute\[heic\]" reads .heic and'):
        data = dq.load(f"folder:{tmp_path}", test=0.5)
    assert len(data.train) == len(data.test) == 2
    (tmp_path / "e.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")
    with pytest.raises(ValueError, match=r'e\.heic \(no picture of a kind that is read here; pip install "dqroute'):
        dq.read_images(tmp_path / "e.heic", 8)


def test_a_long_picture_is_cropped_padded_or_stretched(tmp_path):
    """The object is at its left edge."""
    wide = Image.new("RGB", (64, 8))
    wide.paste(RED, (0, 0, 8, 8))
    wide.save(tmp_path / "wide.png")
    crop, pad, stretch = (read_rgb(tmp_path / "wide.png", 16, fit=fit) for fit in ("crop", "pad", "stretch"))
    assert crop[..., 0].max() == 0
    assert pad[8, 0, 0] > 200 and pad[0, 0].tolist() == [124, 116, 104]
    assert stretch[:, 0, 0].min() > 200 and stretch[:, 4:, 0].max() < 60
