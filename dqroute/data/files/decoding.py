"""Image files of many kinds to one uint8 tensor, with every unreadable file named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
MEMORY_LIMIT = 8 * 2**30  # bytes; beyond this a set does not belong into one tensor
CHUNK = 128
# What brings a picture upright, by the orientation that its EXIF tells.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_images(files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], size: int) -> Tensor:
    """Pictures of any kind and size as a model takes them: ``run.model.predict(dq.read_images(files, size=32))``.

    Args:
        files: what to read; one file makes a batch of one.
        size: side in pixels, as the model was trained on; pictures are cropped to a centred square and resized.

    Returns:
        uint8 ``[N, 3, size, size]``.

    Raises:
        ValueError: naming the files that cannot be read.
    """
    files = [files] if isinstance(files, (str, os.PathLike)) else files
    paths = [Path(file).absolute() for file in files]
    if not paths:
        raise ValueError("no files were given to read")
    base = Path(os.path.commonpath([path.parent for path in paths]))
    return decode([path.relative_to(base).as_posix() for path in paths], size, base)


def decode(names: Sequence[str], side: int, base: Path, *, exact: bool = False) -> Tensor:
    """Read images in a few threads.

    Args:
        names: of the files to read, below ``base``.
        side: side of the result in pixels; other images are cropped to a centred square and resized.
        base: the folder.
        exact: refuse images of another size instead of resizing them.

    Returns:
        uint8 ``[N, 3, side, side]``.

    Raises:
        ValueError: if files cannot be read (the first five are named), or differ in size when ``exact``.
    """
    images = torch.empty(len(names), 3, side, side, dtype=torch.uint8)

    def read_chunk(start: int) -> list[tuple[Path, Exception]]:
        failures = []
        for index in range(start, min(start + CHUNK, len(names))):
            file = base / names[index]
            # Damaged files raise almost anything: OSError, SyntaxError, ValueError, struct.error, EOFError.
            try:
                pixels = read_rgb(file, side, exact=exact)
                images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
            except Exception as error:
                failures.append((file, error))
        return failures

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        failures = [failure for part in pool.map(read_chunk, range(0, len(names), CHUNK)) for failure in part]
    other_size = [(file, error) for file, error in failures if isinstance(error, OtherSizeError)]
    unreadable = [(file, error) for file, error in failures if not isinstance(error, OtherSizeError)]
    if unreadable:
        raise ValueError(f"cannot read {named(unreadable, base)}; repair or remove {them(unreadable)}")
    if other_size:
        raise ValueError(
            f"images differ in size: {named(other_size, base)}, others {side}x{side}; "
            f"pass size=, the side in pixels that all are to have"
        )
    return images


class OtherSizeError(Exception):
    """An image is not of the size that all images were expected to have."""


def read_rgb(file: Path, side: int, *, exact: bool) -> np.ndarray:
    """One image, upright, as uint8 ``[side, side, 3]``; of an animation, the first frame."""
    with Image.open(file) as image:
        if exact and image.size != (side, side):
            raise OtherSizeError(f"{image.width}x{image.height}")
        # JPEG can skip detail that the resize would throw away; it keeps at least twice the size asked for.
        image.draft(None, (2 * side, 2 * side))
        rgb = upright_rgb(image)
    if rgb.size != (side, side):
        rgb = ImageOps.fit(rgb, (side, side), method=Image.Resampling.BICUBIC)
    return np.array(rgb)


def upright_rgb(image: Image.Image) -> Image.Image:
    """An opened image as the camera was held, in 8-bit RGB; of an animation, the first frame."""
    # First, so that a damaged picture is an error here and now; and Pillow itself turns a TIFF while it reads it.
    image.load()
    # Not by ImageOps.exif_transpose, which writes all tags anew and stumbles over any that is not as it should be.
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None  # tags that nobody can read say nothing
    return to_rgb(image if turn is None else image.transpose(turn))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB, transparency dropped.

    16-bit grey keeps its full range: PIL's own conversion clips everything above 255.
    """
    if not image.mode.startswith(("I", "F")):
        # By way of RGBA, because PIL warns about palettes with transparency otherwise.
        return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; convert the image to 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")


def common_side(names: Sequence[str], base: Path) -> int:
    """The side of the first readable image, if that is a square; :func:`decode` checks the others.

    Raises:
        ValueError: if it is no square, or none of the first images can be read.
    """
    failures: list[tuple[Path, Exception]] = []
    for file in [base / name for name in names[:CHUNK]]:
        try:
            with Image.open(file) as image:
                width, height = image.size
        except Exception as error:
            failures.append((file, error))
            continue
        if width != height:
            raise ValueError(
                f"{relative(file, base)} is {width}x{height}, not a square; pass size=, the side in pixels that all "
                f"images are to have (centred crop, then resized)"
            )
        return width
    raise ValueError(f"cannot read {named(failures, base)}; repair or remove {them(failures)}")


def memory_needed(number: int, side: int) -> int:
    """Bytes of so many images in one tensor."""
    return number * 3 * side * side


def fits_memory(number: int, side: int) -> bool:
    """Whether so many images fit into one tensor of a sensible size."""
    return memory_needed(number, side) <= MEMORY_LIMIT


def check_memory(number: int, side: int) -> None:
    """Raise ValueError if so many images do not fit into one tensor of a sensible size."""
    if not fits_memory(number, side):
        needed = memory_needed(number, side)
        largest = int((MEMORY_LIMIT / (3 * number)) ** 0.5)
        raise ValueError(
            f"{number:,} images of {side}x{side} pixels take {needed / 2**30:.1f} GiB of memory, more than the "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB meant for one set; pass size={largest} or less, "
            "or stream=True to leave them in their files"
        )


def named(failures: Sequence[tuple[Path, Exception]], base: Path) -> str:
    """Up to five files with what is wrong with them, and how many there are."""
    shown = ", ".join(f"{relative(file, base)} ({reason(error)})" for file, error in failures[:5])
    return shown if len(failures) <= 5 else f"{len(failures)} images, among them {shown}"


def reason(error: Exception) -> str:
    """What is wrong with a file, in few words; the messages for unknown content and lost files repeat the path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image PIL knows"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def relative(file: Path, base: Path) -> str:
    """A file's name as seen from the set's folder."""
    return file.relative_to(base).as_posix()


def them(failures: Sequence[object]) -> str:
    """The pronoun for so many files."""
    return "it" if len(failures) == 1 else "them"
