"""Pictures of one's own, by class, to a set: divided where nobody has divided them, groups kept whole, leaks said."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import checked_range
from dqroute.data.checking import NAMED, damaged
from dqroute.data.draw import Draw
from dqroute.data.files.copies import copies, leaks, with_copies
from dqroute.data.files.decoding import opened
from dqroute.data.files.depth import is_deep
from dqroute.data.files.holding_out import held_out, ranks
from dqroute.data.files.listing import Listing, look_of, set_of_files
from dqroute.data.files.reading import listed, named
from dqroute.data.files.split import FileSplit
from dqroute.data.files.threads import each
from dqroute.data.files.together import shared, told_mixed
from dqroute.data.image_set import ImageSet
from dqroute.data.markup import number_of

SEEN = 160  # side in pixels of the squares that pictures of many sizes are seen as
MUCH = 0.35  # share of its pictures that a set may lose at the edges before they are stretched instead
Parts = dict[str, dict[str, list[str]]]  # the picture files of each part, by class
TEST = 0.2  # share of each class that is held out for testing, where there are no test images


def own_set(
    name: str,
    base: Path,
    parts: Parts,
    together: Mapping[str, str] | None,
    test: float | None,
    draw: Draw,
    identity: dict[str, Any],
    notes: list[str],
    one: str,
    **options: Any,
) -> ImageSet:
    """The set of some pictures below ``base``; a warning names those that leak from one part into another.

    Args:
        parts: of ``"train"`` and perhaps ``"val"`` and ``"test"``, the pictures of each class of ``train``; classes
            without any are left out.
        together: what each picture's group is called; None where each stands alone.
        test: share of each class that is held out where there is no test part, ``TEST`` if None, nothing at 0.
        draw: with groups its ``val`` is a share of each class, held out by whole groups.
        one: what to say of a set of one class.
        identity, notes, options: see :func:`~dqroute.data.files.listing.set_of_files`.
    """
    if test is not None and "test" in parts:
        raise ValueError(f"{name} has test images of its own; leave test={test} out, or take those away")
    there = {of for images in parts.values() for of, files in images.items() if files}
    class_names, listings = tuple(of for of in parts["train"] if of in there), dict[str, Listing]()
    if empty := [of for of in dict.fromkeys(of for images in parts.values() for of in images) if of not in there]:
        more = len(empty) > 1
        has, it = ("have", "are") if more else ("has", "is")
        notes.append(f"class{'es' * more} {listed(empty)} {has} no picture that can be read, and {it} left out")
    if len(class_names) < 2:
        why = [*notes, *(f"all pictures are of one class, {of!r}: {one}" for of in class_names)]
        raise ValueError(f"{name}: {'; '.join(why)}; there must be two classes at least")
    for part, images in parts.items():
        members = [images.get(of, []) for of in class_names]
        labels = torch.arange(len(members)).repeat_interleave(torch.tensor([len(files) for files in members]))
        listings[part] = Listing([file for files in members for file in files], labels)
    if draw.val is not None and "val" in listings:
        raise ValueError(f"{name} has validation images of its own; leave val={draw.val} out, or take those away")
    by_look = dict[str, list[str]]()
    for of in class_names:
        by_look.setdefault(look_of(of), []).append(of)
    if alike := [" and ".join(map(repr, those)) for those in by_look.values() if len(those) > 1]:
        told = (
            f"{', '.join(alike)} are classes of their own and differ in capitals, blanks, zeros or Unicode forms alone"
        )
        warnings.warn(f"{name}: {told}; if they are the same, give them one name", stacklevel=4)
    groups, every = groups_of(together, listings), [file for listing in listings.values() for file in listing.names]
    if together is not None:
        notes += told_mixed(together, every, [k for listing in listings.values() for k in listing.labels.tolist()])
    same, number = copies(base, every), len(listings["train"].names)  # which come first
    if again := [own for those in same if len(own := [n for n in those if n < number]) > 1]:
        if groups is None:
            ids = torch.arange(len(every)).split([len(listing.names) for listing in listings.values()])
            groups = dict(zip(listings, ids, strict=True))
        groups["train"] = with_copies(groups["train"], again)
        identity["copies"] = "together"
        of = "training " * (len(parts) > 1)
        notes.append(number_of(len(again), f"{of}pictures are there twice or more: such copies stay together"))
    if together is not None and isinstance(draw.val, int):
        raise ValueError(f"with group_by, val is a share of each class, as in val=0.2; got {draw.val}")
    shares = dict[str, float]()
    if test == 0 and not isinstance(test, bool):
        none = f"none of the {len(listings['train'].names):,} pictures is held out for testing (test=0)"
        notes.append(f"{none}: a run that trains on them is judged out of fold, any other on all of them (other=True)")
    elif "test" not in listings:
        at = TEST if test is None else test
        shares["test"] = identity["test"] = checked_range("test, unless it is 0,", at, 0.01, 0.9)
    if isinstance(draw.val, float) and (groups is not None or draw.imbalance is None):
        shares["val"] = identity["held_out"] = draw.val
        draw = replace(draw, val=None)
    if shares:
        identity["dealt"] = "by content" if together is None else "by group"
        rank = ranks(base, listings["train"].names, together, draw.seed)
        for part, share in shares.items():
            rank = hold_out(part, share, listings, groups, rank, class_names, draw.seed, notes)
    seen = seen_of(base, [name for listing in listings.values() for name in listing.names])
    shapes = [shape for shape, _ in seen]
    notes += told_of_depth([deep for _, deep in seen])
    sizes = set(shapes)
    many = len(sizes) > 1 or any(width != height for width, height in sizes)
    if many and options.get("size") is None and options.get("stream") is not False:
        options |= {"size": SEEN, "stream": True}
    lost = sum(1 - min(shape) / max(shape) for shape in shapes) / max(1, len(shapes))
    if options.get("fit") is None:
        options["fit"] = "stretch" if lost > MUCH else "crop"
    if lost > MUCH:
        notes.append(
            f"a centred square would lose {100 * lost:.0f} % of the pictures on average: fit={options['fit']!r}; "
            "'crop' takes the middle, 'pad' and 'stretch' keep all"
        )
    elif lost and options["fit"] == "crop":
        of = "{}×{}".format(*shapes[0]) if len(sizes) == 1 else f"of {len(sizes):,} sizes"
        notes.append(f"pictures are {of}: the middle square of each is looked at (fit='pad' keeps all)")
    for said in leaks([[every[n] for n in those] for those in same], listings, class_names):
        warnings.warn(said, stacklevel=4)
    return set_of_files(name, base, listings, class_names, draw, identity, together=groups, notes=notes, **options)


def without_damaged(name: str, base: Path, parts: Parts, notes: list[str]) -> Parts:
    """The pictures of a set, by part and class, less those that cannot be read, which ``notes`` is told."""
    every = [file for images in parts.values() for files in images.values() for file in files]
    bad = left_out(name, base, every, notes)
    return {part: {of: [f for f in files if f not in bad] for of, files in parts[part].items()} for part in parts}


def left_out(name: str, base: Path, every: list[str], notes: list[str]) -> Collection[str]:
    """Those of some pictures that cannot be read, which ``notes`` is told."""
    bad = dict(damaged(name, [FileSplit(base, every, torch.zeros(len(every)), 1)]))
    if bad:
        more = ", …" if len(bad) > NAMED else ""
        of = number_of(len(bad), "damaged files are left out")
        notes.append(f"{of}: {named([*bad.items()][:NAMED], NAMED)}{more}")
    return bad


def seen_of(base: Path, names: list[str]) -> list[tuple[tuple[int, int], bool]]:
    """Width and height of those pictures that can be read, and whether they have more than 8 bits."""

    def look(name: str) -> tuple[tuple[int, int], bool] | None:
        with suppress(Exception), opened(base / name) as image:  # what is wrong with a file is said when it is read
            return image.size, is_deep(image)
        return None

    return [found for found in each(look, names) if found is not None]


def told_of_depth(deep: list[bool]) -> list[str]:
    """What a user should know of pictures of which some have more than 8 bits."""
    return [
        f"{sum(deep):,} of the pictures have more than 8 bits: each is brought to 8 by its own range, so that nothing "
        "is dark or cut off, and how bright it is as a whole is lost"
    ] * any(deep)


def groups_of(together: Mapping[str, str] | None, listings: dict[str, Listing]) -> dict[str, Tensor] | None:
    """The group of each picture of each part, int64 ``[N]``; a warning says which parts share groups."""
    if together is None:
        return None
    order = {key: index for index, key in enumerate(dict.fromkeys(together.values()))}
    by_part = {part: [order[together[name]] for name in listing.names] for part, listing in listings.items()}
    for (one, other), number in shared(by_part).items():
        leak = f"{number_of(number, 'groups by group_by= are')} in {one} and in {other}"
        warnings.warn(f"{leak}: what is measured there is partly memory", stacklevel=5)
    return {part: torch.tensor(ids) for part, ids in by_part.items()}


def hold_out(
    part: str,
    share: float,
    listings: dict[str, Listing],
    together: dict[str, Tensor] | None,
    rank: Tensor,
    class_names: tuple[str, ...],
    seed: int,
    notes: list[str],
) -> Tensor:
    """Move a share of the training pictures, the first by ``rank``, and of their groups, into a part of its own.

    Returns:
        The ranks of those that stay.
    """
    names, labels = listings["train"]
    group = None if together is None else together["train"]
    out = held_out(labels, share, rank, group)
    for of, mask in (("train", ~out), (part, out)):
        if together is not None and group is not None:
            together[of] = group[mask]
        listings[of] = Listing([names[i] for i in mask.nonzero().flatten().tolist()], labels[mask])
    if not out.any():
        why = "each class has one alone, or all of it belongs together"
        if group is not None and (number := len(group.unique())) < len(group):
            why += f" ({number_of(number, 'groups')} of {len(group):,} pictures: group bursts, not cameras or classes)"
        remedy = "test=0 trains on all of them" if part == "test" else "leave val out"
        raise ValueError(f"no picture can be held out as {part}: {why}; {remedy}")
    whole = ", groups and copies whole" if together is not None else ""
    notes.append(f"{int(out.sum()):,} of {len(names):,} pictures are held out as {part} (seed {seed}{whole})")
    if none := [name for c, name in enumerate(class_names) if not (labels[out] == c).any()]:
        notes.append(f"no picture of {listed(none)} is among them: there is one alone, or all belong together")
    return rank[~out]
