"""Features that were computed once, by the content of the pictures: in files of a few thousand rows, read in place.

A picture that is met again, in another draw, split or folder, is not computed again. A process that is killed loses
what it had not yet written, at most one file's worth.
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dqroute.data.disk import write_tensors

KEY = 16  # bytes that tell pictures apart
ROWS = 2048  # of a file
LARGEST = 60_000  # a number beyond this does not fit into 16 bits
ABANDONED = 3600  # seconds: a file takes less than one to be written


def default_cache() -> Path:
    """``$DQROUTE_CACHE``, or ``~/.cache/dqroute``."""
    return Path(os.environ.get("DQROUTE_CACHE") or "~/.cache/dqroute").expanduser()


def key_of(content: bytes | memoryview) -> bytes:
    """What tells a picture from others: the first 16 bytes of SHA-256 over its content."""
    return hashlib.sha256(content).digest()[:KEY]


def digest_of(features: Tensor) -> str:
    """SHA-256 of features as they lie in memory, in hexadecimal."""
    return hashlib.sha256(features.cpu().contiguous().view(torch.uint8).numpy().data).hexdigest()


class FeatureCache:
    """The features that one encoder has made so far.

    Args:
        folder: for this encoder alone, its weights, preprocessing and precision.
        width: ``D``.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder, width
        self.place: dict[bytes, tuple[Path, int]] = {}
        self.checked: set[Path] = set()
        for file in sorted(folder.glob("*.safetensors")):
            self._enter(file)
        # A process killed while writing leaves its half-written file; what is younger another may be at.
        for partial in folder.glob(".*.partial"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > ABANDONED:
                    partial.unlink()

    def _enter(self, file: Path) -> None:
        try:
            with safe_open(file, framework="pt") as held:
                keys, shape = held.get_tensor("keys"), held.get_slice("features").get_shape()
            if keys.shape != (len(keys), KEY) or shape != [len(keys), self.width]:
                raise ValueError(f"{shape} features for {list(keys.shape)} keys")
        except OSError as error:
            warnings.warn(f"{file} cannot be read ({error}); its features are computed again", stacklevel=4)
        except (SafetensorError, ValueError) as error:
            warnings.warn(f"{file} is damaged ({error}); its features are computed again", stacklevel=4)
            with suppress(OSError):
                file.unlink()
        else:
            self.place |= {bytes(key): (file, row) for row, key in enumerate(keys.numpy())}

    def __contains__(self, key: bytes) -> bool:
        return key in self.place

    def add(self, keys: Sequence[bytes], features: Tensor) -> None:
        """Keep features ``[n, D]`` of pictures with these keys; OSError names the place and the remedy."""
        narrow = features.half() if features.abs().max() < LARGEST else features
        file = self.folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:32]}.safetensors"
        table = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, KEY)
        told = {"sha256": digest_of(narrow)}
        write_tensors(file, {"keys": table, "features": narrow}, told, "set DQROUTE_CACHE to another place")
        self.place |= {key: (file, row) for row, key in enumerate(keys)}

    def read(self, keys: Sequence[bytes]) -> Tensor:
        """Features, float32 ``[n, D]``, of pictures that are in it, a file at a time."""
        found = torch.empty(len(keys), self.width)
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for position, key in enumerate(keys):
            file, row = self.place[key]
            wanted.setdefault(file, []).append((position, row))
        for file, pairs in wanted.items():
            positions, rows = torch.tensor(pairs).T
            with safe_open(file, framework="pt") as held:
                features, told = held.get_tensor("features"), held.metadata() or {}
            found[positions] = features[rows].float()
            # Older files tell no digest. Once is enough.
            changed = file not in self.checked and told.get("sha256", "") not in ("", digest_of(features))
            if changed or not torch.isfinite(found[positions]).all():
                wrong = "other features than were computed" if changed else "features that are no numbers"
                raise ValueError(f"{file} holds {wrong}; remove it, and they are computed again")
            self.checked.add(file)
        return found
