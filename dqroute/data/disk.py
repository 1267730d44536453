"""Writing files so that a crash, a full disk or a second reader never sees half of one."""

from __future__ import annotations

import errno
import json
import os
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: the target is the old file or the whole new one.

    Raises:
        OSError: naming the file and the remedy, when the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise OSError(
            error.errno, f"cannot write {path} ({error.strerror}); free some space or choose another runs_dir"
        ) from error


def sync_folder(folder: Path) -> None:
    """Have a rename outlast a power cut, too.

    Where a folder cannot be synchronised (Windows, some network file systems), nothing happens: the file is there.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, atomically."""
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def keep_json(path: Path, value: Any) -> None:
    """Write JSON that can be worked out again; where it cannot be written, a warning says so."""
    try:
        write_json(path, value)
    except OSError as error:
        warnings.warn(f"not kept, to be worked out again next time: {error}", stacklevel=3)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: naming the file, if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}); remove the run's folder to train it again") from error


def read_json_lines(path: Path) -> list[Any]:
    """Read one JSON value a line.

    Raises:
        ValueError: naming the file and the line, if it is not JSON.
    """
    values = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}, is not readable JSON ({error}); remove the run's folder to train it again"
            ) from error
    return values


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, atomically."""
    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata))


def read_tensors(
    path: Path, remedy: str = "remove the run's folder to train it again"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read safetensors: tensors and metadata. Nothing is unpickled.

    The file is opened once and for a moment held twice in memory. `safe_open` maps it instead, but opens it twice, and
    between the two a training may have replaced it.

    Args:
        path: of the file; remedy: what to do if it is damaged, for the message.

    Raises:
        ValueError: naming the file, if it is truncated or something else.
    """
    try:
        content = path.read_bytes()
        return load(content), metadata_of(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file ({error}); {remedy}") from error


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of a sound safetensors file: its header is JSON, after the header's length in eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__") or {}
