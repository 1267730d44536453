"""All picture files of a set looked through before there is work that a damaged one would cost."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tqdm import tqdm

from dqroute.data.files.reading import Failures, named
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import ImageSet

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
    bad: Failures = []
    splits = [split for part, split in data.splits.items() if part in parts and isinstance(split, FileSplit)]
    # A bar only where it takes a while.
    with tqdm(
        *(None, f"{data.name}: checking files", sum(map(len, splits))), unit="img", delay=2, disable=not progress
    ) as bar:
        for split in splits:
            bad += split.look(lambda key: not known(key), bar.update)
    if bad:
        raise ValueError(
            f"cannot read {named(bad, NAMED)}; mend such files, or move them out and load the set again (check=False "
            "looks at none beforehand)"
        )
