"""Which picture files a run was trained and tested on, told by their content: files change behind their names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from dqroute.data.disk import read_tensors, write_tensors
from dqroute.data.feature_cache import KEY
from dqroute.data.feature_set import content_keys
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, FeatureSplit, ImageSet, Split

PICTURES = "pictures.safetensors"  # of each part whose pictures are files their keys, uint8 [N, 16], in order
BEFORE = "before"  # beside the parts: the keys of what the run's start was trained on


def files_of(split: AnySplit) -> FileSplit | Split | None:
    """A split's pictures, in files or read from such; None where they are not at hand, or never were files."""
    pictures = split.pictures if isinstance(split, FeatureSplit) else split
    return None if pictures is None or pictures.names is None else pictures


def keys_of(pictures: FileSplit | Split) -> list[bytes]:
    """What tells pictures from others: their files' bytes, or where they were read into memory their pixels."""
    return pictures.keys if isinstance(pictures, FileSplit) else content_keys(pictures)


def known_keys(folder: Path, part: str) -> list[bytes] | None:
    """The keys of the pictures of one part of the set that a run was trained on; None where they are not known."""
    if not (folder / PICTURES).is_file():
        return None
    held = read_tensors(folder / PICTURES)[0].get(part)
    return None if held is None else [row.tobytes() for row in held.numpy()]


def keep_keys(folder: Path, data: ImageSet, start_from: Path | None) -> None:
    """Note what a run's picture files hold, and what the run that it starts from has learned; nothing without files."""
    keys = {part: keys_of(found) for part, split in data.splits.items() if (found := files_of(split)) is not None}
    if start_from is not None and (before := learned_by(start_from)):
        keys[BEFORE] = sorted(before)
    if keys:
        rows = {part: torch.frombuffer(bytearray(b"".join(of)), dtype=torch.uint8) for part, of in keys.items()}
        write_tensors(folder / PICTURES, {part: of.view(-1, KEY) for part, of in rows.items()}, {})


def changed_files(folder: Path, data: ImageSet, parts: Collection[str]) -> list[str]:
    """The files of some parts that hold something else than when the run was begun."""
    changed: list[str] = []
    for part in parts:
        then, now = known_keys(folder, part), files_of(data.splits[part]) if part in data.splits else None
        # Pixels two machines may decode a little differently.
        if then is not None and isinstance(now, FileSplit) and len(then) == len(now):
            changed += [name for name, old, new in zip(now.names, then, now.keys, strict=True) if old != new]
    return changed


def moves(folder: Path, data: ImageSet) -> str:
    """How many files came, went, or are in another part than when a run was trained, in words; "" if not known."""
    then = {key: part for part in ("train", "val", "test") for key in known_keys(folder, part) or ()}
    held = {part: found for part, split in data.splits.items() if (found := files_of(split)) is not None}
    now = {key: part for part, found in held.items() for key in keys_of(found)}
    moved = sum(part != now[key] for key, part in then.items() if key in now)
    counts = {"added": len(now.keys() - then.keys()), "gone": len(then.keys() - now.keys()), "in another part": moved}
    told = [f"{count:,} {how}" for how, count in counts.items() if count]
    return f" (files: {', '.join(told)})" if then and now and told else ""


def learned_by(folder: Path) -> set[bytes]:
    """The keys of all pictures that a run was trained on, or one that it started from, as far as they are known."""
    return {key for part in ("train", BEFORE) for key in known_keys(folder, part) or ()}


def remembered(folder: Path, part: str) -> int:
    """How many pictures of a part of a run's set it was trained on, or one that it started from, as far as known."""
    learned = learned_by(folder)
    return sum(key in learned for key in known_keys(folder, part) or ())


def learned_from(folder: Path, split: AnySplit) -> list[str]:
    """Those files of a split that a run was trained on, or one that it started from, by content."""
    now = files_of(split)
    if now is None or now.names is None or not (learned := learned_by(folder)):
        return []
    return [name for name, key in zip(now.names, keys_of(now), strict=True) if key in learned]
