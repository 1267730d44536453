"""Writing files so that a crash, a full disk or a second reader never sees half of one."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

RESERVED = re.compile(r"(?i)con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$|com[¹²³]|lpt[¹²³]")
AGAIN = "remove the run's folder to train it again"


def write_atomically(path: Path, content: bytes, elsewhere: str = "choose another runs_dir") -> None:
    """Write beside the target, then rename: the target is the old file or the whole new one.

    OSError names the file and the remedy, when the folder cannot be written or the disk is full.
    """
    # Of its own for each writer: in two containers two processes may have one number.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise unwritable(path, error, elsewhere) from error
    # Have the rename outlast a power cut, too, where folders can be synchronised (not on Windows and some networks).
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)


def unwritable(path: Path, error: OSError, elsewhere: str = "choose another runs_dir") -> OSError:
    """The error for a file or folder that cannot be written, with the remedy."""
    space = "free some space or " * (error.errno in (errno.ENOSPC, errno.EDQUOT))
    return OSError(error.errno, f"cannot write {path} ({error.strerror}); {space}{elsewhere}")


def check_writable(folder: Path) -> None:
    """OSError, with the remedy, if a folder that need not be there yet cannot be made, or nothing be written in it."""
    try:
        TemporaryDirectory(dir=next(place for place in (folder / "x").absolute().parents if place.exists())).cleanup()
    except OSError as error:
        raise unwritable(folder, error) from error


def folder_name(name: str) -> str:
    """A name as that of one folder, on any system: itself where it can be, else made plain, with a digest.

    Names with slashes or other signs that some system reserves, ``..``, ``NUL`` and the like, and names of more than
    200 bytes are changed; two that differ stay different.
    """
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]', "-", name)
    plain = plain.encode()[:200].decode(errors="ignore").rstrip(". ")
    if plain == name and plain and not RESERVED.fullmatch(plain.partition(".")[0].strip()):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{plain or 'unnamed'}~{digest}".replace(".", "-")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, atomically."""
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def keep(path: Path, value: Any) -> None:
    """Write what can be worked out again, text or JSON; where it cannot be written, a warning says so."""
    try:
        if isinstance(value, str):
            write_atomically(path, value.encode())
        else:
            write_json(path, value)
    except OSError as error:
        warnings.warn(f"not kept, to be worked out again next time: {error}", stacklevel=3)


def read_json(path: Path) -> Any:
    """Read JSON; ValueError names the file if it is something else."""
    return parsed(path.read_bytes(), str(path))


def read_json_lines(path: Path) -> list[Any]:
    """Read one JSON value a line; ValueError names the file and the line if it is something else."""
    lines = path.read_bytes().splitlines()
    return [parsed(line, f"{path}, line {number},") for number, line in enumerate(lines, start=1)]


def parsed(text: bytes, place: str) -> Any:
    """JSON as a value; ValueError names its place."""
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not readable JSON ({error}); {AGAIN}") from error


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], elsewhere: str = "choose another runs_dir"
) -> None:
    """Write tensors as safetensors, atomically; OSError names the file and where else it might go.

    Where the file's name ends in ``.gz`` they are packed.
    """
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata)
    # Without the time, so that the same tensors are the same file.
    write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content, elsewhere)


def read_tensors(path: Path, remedy: str = AGAIN) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read safetensors, tensors and metadata; ValueError names the file and the remedy if it is something else.

    Where the file's name ends in ``.gz`` it is unpacked.
    """
    # Opened once: between the two times that `safe_open` opens it, a training may have replaced it.
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        tensors = load(content)
    except (SafetensorError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or not a safetensors file ({error}); {remedy}") from error
    # The header is JSON, after its length in eight bytes.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__") or {}
