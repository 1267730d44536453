"""Which picture files a run was trained and tested on, told by their content: files change behind their names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from dqroute.data.disk import read_tensors, write_tensors
from dqroute.data.feature_cache import KEY
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, FeatureSplit, ImageSet

PICTURES = "pictures.safetensors"  # of each part whose pictures are files the files' keys, uint8 [N, 16], in order


def files_of(split: AnySplit) -> FileSplit | None:
    """The files of a split's pictures; None where they are not at hand as files."""
    pictures = split.pictures if isinstance(split, FeatureSplit) else split
    return pictures if isinstance(pictures, FileSplit) else None


def table_of(keys: Collection[bytes]) -> Tensor:
    """Keys as uint8 ``[N, 16]``."""
    return torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, KEY)


def known_keys(folder: Path, part: str) -> list[bytes] | None:
    """The keys of the pictures of one part of the set that a run was trained on; None where they are not known."""
    if not (folder / PICTURES).is_file():
        return None
    held = read_tensors(folder / PICTURES)[0].get(part)
    return None if held is None else [row.tobytes() for row in held.numpy()]


def keep_keys(folder: Path, data: ImageSet) -> None:
    """Note what a run's picture files hold; nothing where they are not at hand."""
    files = {part: found for part, split in data.splits.items() if (found := files_of(split)) is not None}
    if files:
        write_tensors(folder / PICTURES, {part: table_of(split.keys) for part, split in files.items()}, {})


def changed_files(folder: Path, data: ImageSet, parts: Collection[str]) -> list[str]:
    """The files of some parts that hold something else than when the run was begun."""
    changed: list[str] = []
    for part in parts:
        then, now = known_keys(folder, part), files_of(data.splits[part]) if part in data.splits else None
        if then is not None and now is not None and len(then) == len(now):
            changed += [name for name, old, new in zip(now.names, then, now.keys, strict=True) if old != new]
    return changed


def learned_from(folder: Path, split: AnySplit) -> list[str]:
    """Those files of a split that a run was trained on, by content."""
    then, now = known_keys(folder, "train"), files_of(split)
    if then is None or now is None:
        return []
    learned = set(then)
    return [name for name, key in zip(now.names, now.keys, strict=True) if key in learned]
