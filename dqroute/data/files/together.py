"""Pictures that belong together, as the frames of a burst do: told by their paths, or by when they were taken."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from PIL import ExifTags
from torch import Tensor

from dqroute.core.checks import checked_range, meant, shown
from dqroute.data.files.decoding import opened
from dqroute.data.files.reading import each, listed
from dqroute.data.markup import number_of


def check_group_by(group_by: object) -> None:
    """ValueError unless it is a regular expression or a number of seconds above 0, None or False."""
    if group_by is True or (group_by in ("", 0) and group_by is not False):
        kinds = "a pattern in the path (of a table also a column), a number of seconds above 0, or False for no groups"
        raise ValueError(f"group_by is {kinds}; got {shown(group_by)}")
    if isinstance(group_by, str):
        try:
            re.compile(group_by)
        except re.error as error:
            raise ValueError(f"group_by={group_by!r} is no regular expression ({error})") from error
    elif group_by:
        checked_range("group_by", group_by, 0)


def together_by(
    group_by: str | float, base: Path, names: Sequence[str], notes: list[str], columns: Sequence[str] = ()
) -> list[str]:
    """What the group of each picture is called, ``[N]``, the same for those that belong together.

    Args:
        group_by: a regular expression, whose first group (or whole match) in a picture's path below ``base`` names what
            it belongs to; or a number of seconds: pictures belong together that were taken, by their EXIF, no more than
            so long after the one before. What does not match, or does not tell its time, stands alone.
        notes: are told how many pictures these are.
        columns: those of a table, for one of which the pattern may have been meant.

    Raises:
        ValueError: for a pattern that matches no path, no picture that tells its time, and where all pictures that are
            found would belong together, and are more than half.
    """
    hint = ""
    if isinstance(group_by, str):
        pattern = re.compile(group_by)
        found = [match and match[min(1, pattern.groups)] for match in map(pattern.search, names)]
        how = "matches no part of the path of"
        hint = f"; seconds between two pictures are a number, {group_by}" * group_by.isdecimal()
        hint += f"; and no column is called so{meant(group_by, columns)}" * bool(columns)
    else:
        found, how, first, before = [None] * len(names), "finds no time in the EXIF of", "", None
        times = list(each(lambda name: taken(base / name), names))
        for time, index in sorted((time, index) for index, time in enumerate(times) if time):
            if before is None or (time - before).total_seconds() > group_by:
                first = str(time)
            found[index], before = first, time
    alone = [name for name, group in zip(names, found, strict=True) if not group]
    if len(alone) == len(names):
        raise ValueError(f"group_by={group_by!r} {how} any picture, such as {alone[0]!r}{hint}")
    if len({*found} - {None, ""}) == 1 and len(alone) < len(names) / 2:
        of = f"{len(names) - len(alone):,} of {len(names):,}" if alone else f"all {len(names):,}"
        remedy = r"bursts have to differ, as they do for group_by=r'cam\d+_burst\d+', or a few seconds"
        raise ValueError(f"group_by={group_by!r} makes one group of {of} pictures: {remedy}")
    if alone:
        few = f"{len(alone):,} of {len(names):,} pictures, which are taken to stand alone"
        notes.append(f"group_by={group_by!r} {how} {few}: {listed(alone)}")
    return [group or name for group, name in zip(found, names, strict=True)]


def told_unjudged(labels: Tensor, fold: Tensor, class_names: Sequence[str]) -> str:
    """What to say of classes that nobody judges, as they lie together or are of one picture; ``""`` without any."""
    unjudged = [(class_names[c], n) for c, n in enumerate(labels[fold < 0].bincount().tolist()) if n]
    lost, alone = ([name for name, n in unjudged if (n > 1) == several] for several in (True, False))
    if not lost and (fold < 0).all():
        return "no class has two training pictures, and nothing is judged out of fold"
    why = [f"of class {listed(alone)} there is one picture"] if alone else []
    if lost:
        why.append(
            f"all of class {listed(lost)} lies in one group or one fold; where groups can be smaller more are: by "
            r"burst, say, not by camera, as in group_by=r'cam\d+_burst\d+'"
        )
    judged = f"{int((fold >= 0).sum()):,} of {len(fold):,} training pictures are judged out of fold"
    return f"{judged}: {', and '.join(why)}" if why else ""


def warn_of_large(together: Mapping[str, str], level: int) -> None:
    """Warn of a group that holds more than half of all pictures: little is left to be held out, or to learn from."""
    ((name, number),) = Counter(together.values()).most_common(1)
    if number > max(1, len(together) / 2):
        most = f"{number:,} of {len(together):,} pictures are one group, {name!r}, which is never divided"
        warnings.warn(f"{most}; group by what is smaller, by burst, say, not by camera", stacklevel=level)


def told_mixed(
    together: Mapping[str, str], names: Iterable[str], labels: Iterable[int], group_by: object = None
) -> list[str]:
    """What to say of groups whose pictures are of several classes: of few, that a wrong label shows so.

    Of many, with a remedy for a pattern ``group_by``: cameras do, and so do numbers that start anew in each folder.
    """
    first, mixed = dict[str, int](), dict[str, None]()
    for name, label in zip(names, labels, strict=True):
        if first.setdefault(together[name], label) != label:
            mixed[together[name]] = None
    if len(mixed) > len(first) / 5:
        many = f"{len(mixed):,} of {number_of(len(first), 'groups')} span several classes, as cameras do"
        apart = ""
        if isinstance(group_by, str) and not group_by.startswith(("^", "(?")):
            anew = f"group_by=r'^(.*?(?:{group_by}))'"
            apart = f", and so do numbers that start anew in each folder: {anew} keeps folders apart"
        return [many + apart]
    if not mixed:
        return []
    several = f"pictures of several classes ({listed([*mixed])}): wrong labels, perhaps"
    return [f"{number_of(len(mixed), 'groups hold')} {several}"]


def taken(file: Path) -> datetime | None:
    """When a picture was taken, by its EXIF; None where it does not say."""
    try:
        with opened(file) as image:
            tags = image.getexif()
            told = tags.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal) or tags.get(306)
            return datetime.strptime(str(told), "%Y:%m:%d %H:%M:%S")
    except Exception:  # tags that nobody can read say nothing
        return None
