"""All picture files of a set looked through before there is work that a damaged one would cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from dqroute.data.files.reading import MEND, Failures, named
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import ImageSet
from dqroute.data.progress import Progress

NAMED = 50  # damaged files that one message names


def check_files(
    data: ImageSet,
    known: Callable[[bytes], bool] = lambda _: False,
    progress: bool = False,
    parts: Collection[str] = ("train", "val", "test"),
) -> None:
    """Decode the pictures that a set leaves in its files, of these parts, except those whose key is ``known``.

    ValueError names all that are damaged or gone. Their keys are kept, so that no file is read again for them.
    """
    splits = [split for part, split in data.splits.items() if part in parts and isinstance(split, FileSplit)]
    if bad := damaged(data.name, splits, known, progress):
        raise ValueError(f"cannot read {named(bad, NAMED)}; {MEND} (dq.fit(..., check=False) looks at none beforehand)")


def damaged(
    name: str, splits: Sequence[FileSplit], known: Callable[[bytes], bool] = lambda _: False, progress: bool = True
) -> Failures:
    """The files of splits that are damaged or gone, and why; those whose key is ``known`` are not decoded."""
    bad: Failures = []
    shown = Progress(f"{name}, checked", sum(map(len, splits)), "file", show=progress)
    with shown.bar:
        for split in splits:
            bad += split.look(lambda key: not known(key), shown.step)
    return bad
