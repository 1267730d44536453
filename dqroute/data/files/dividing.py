"""Pictures of one's own, by class, to a set: divided where nobody has divided them, groups kept whole, leaks said."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import checked_range, checked_whole, choose
from dqroute.data.checking import NAMED, damaged
from dqroute.data.draw import Draw
from dqroute.data.files.copies import copies, leaks, with_copies
from dqroute.data.files.decoding import FITS
from dqroute.data.files.holding_out import OVER, held_out, ranks
from dqroute.data.files.listing import Listing, as_squares, look_of, set_of_files
from dqroute.data.files.reading import listed, named
from dqroute.data.files.split import FileSplit
from dqroute.data.files.together import check_group_by, together_by, told_mixed, warn_of_large
from dqroute.data.image_set import ImageSet
from dqroute.data.markup import number_of

TEST = 0.2  # share of each class that is held out for testing, where there are no test images
Parts = dict[str, dict[str, list[str]]]  # the picture files of each part, by class


def own_set(
    name: str,
    base: Path,
    parts: Parts,
    draw: Draw,
    identity: dict[str, Any],
    notes: list[str],
    one: str,
    *,
    test: float | None,
    group_by: str | float | Mapping[str, str] | None,
    skip_damaged: bool,
    size: int | None,
    stream: bool | None,
    fit: str | None,
    columns: Sequence[str] = (),
    **options: Any,
) -> ImageSet:
    """The set of some pictures below ``base``; a warning names those that leak from one part into another.

    Args:
        parts: of ``"train"`` and perhaps ``"val"`` and ``"test"``, the pictures of each class of ``train``; classes
            without any are left out.
        draw: with groups its ``val`` is a share of each class, held out by whole groups.
        one: what to say of a set of one class.
        group_by: what each picture's group is called; None where each stands alone; and as for folders.
        columns: what a table has, for a message.
        identity, notes: see :func:`~dqroute.data.files.listing.set_of_files`.

    Other arguments as for :func:`dqroute.data.sets.folder.folder`.
    """
    for part, word, share in (("test", "test", test), ("val", "validation", draw.val)):
        if share is not None and part in parts:
            raise ValueError(f"{name} has {word} images of its own; leave {part}={share} out, or take those away")
    # All settings first: the files are many.
    none_held = test == 0 and not isinstance(test, bool)
    at = 0 if none_held else checked_range("test, unless it is 0,", TEST if test is None else test, 0.01, 0.9)
    checked_whole("size", 1 if size is None else size, 1)
    choose("fit", fit or "crop", FITS)
    check_group_by(None if isinstance(group_by, Mapping) else group_by)
    if group_by and isinstance(draw.val, int):
        raise ValueError(f"with group_by, val is a share of each class, as in val=0.2; got {draw.val}")
    every = [file for images in parts.values() for files in images.values() for file in files]
    if skip_damaged and (bad := left_out(name, base, every, notes)):
        every = [file for file in every if file not in bad]
        for images in parts.values():
            images.update({of: [file for file in files if file not in bad] for of, files in images.items()})
    together = group_by if isinstance(group_by, Mapping) else None
    if group_by and isinstance(group_by, str | Real):
        together = dict(zip(every, together_by(group_by, base, every, notes, columns), strict=True))
        identity["group_by"] = group_by
    class_names, listings = listings_of(name, parts, together, notes, one)
    notes.insert(0, f"{number_of(len(class_names))}, {listed(class_names)}")
    every = [file for listing in listings.values() for file in listing.names]
    if together is not None:
        labels = [k for listing in listings.values() for k in listing.labels.tolist()]
        notes += told_mixed(together, every, labels, group_by)
        warn_of_large(together, level=5)
    same, number = copies(base, every), len(listings["train"].names)  # which come first
    if again := [own for those in same if len(own := [n for n in those if n < number]) > 1]:
        groups = [listing.group for listing in listings.values() if listing.group is not None]
        joined = with_copies(torch.cat(groups) if groups else torch.arange(len(every)), again)
        own = iter(joined.split([len(listing.names) for listing in listings.values()]))
        listings = {part: listing._replace(group=next(own)) for part, listing in listings.items()}
        identity["copies"] = "together"
        of = "training " * (len(parts) > 1)
        notes.append(number_of(len(again), f"{of}pictures are there twice or more: such copies stay together"))
    shares = dict[str, float]()
    if none_held:
        none = f"none of the {number:,} pictures is held out for testing (test=0)"
        notes.append(f"{none}: a run that trains on them is judged out of fold, any other on all of them (other=True)")
    elif "test" not in listings:
        shares["test"] = identity["test"] = at
    if isinstance(draw.val, float) and (listings["train"].group is not None or draw.imbalance is None):
        shares["val"] = identity["held_out"] = draw.val
        draw = replace(draw, val=None)
    if shares:
        identity["dealt"] = "by content" if together is None else "by group"
        rank = ranks(base, listings["train"].names, together, draw.seed)
        for part, share in shares.items():
            rank = hold_out(part, share, listings, rank, class_names, draw.seed, notes)
    options |= as_squares(base, every, notes, size=size, stream=stream, fit=fit)
    for said in leaks([[every[n] for n in those] for those in same], listings, class_names):
        warnings.warn(said, stacklevel=4)
    return set_of_files(name, base, listings, class_names, draw, identity, notes=notes, **options)


def listings_of(
    name: str, parts: Parts, together: Mapping[str, str] | None, notes: list[str], one: str
) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """The names of the classes that have pictures, and each part's pictures with their groups; see :func:`own_set`."""
    there = {of for images in parts.values() for of, files in images.items() if files}
    class_names = tuple(of for of in parts["train"] if of in there)
    if empty := [of for of in dict.fromkeys(of for images in parts.values() for of in images) if of not in there]:
        more = len(empty) > 1
        has, it = ("have", "are") if more else ("has", "is")
        notes.append(f"class{'es' * more} {listed(empty)} {has} no picture that can be read, and {it} left out")
    if len(class_names) < 2:
        why = [*notes, *(f"all pictures are of one class, {of!r}: {one}" for of in class_names)]
        raise ValueError(f"{name}: {'; '.join(why)}; there must be two classes at least")
    by_look = defaultdict[str, list[str]](list)
    for of in class_names:
        by_look[look_of(of)].append(of)
    if alike := [" and ".join(map(repr, those)) for those in by_look.values() if len(those) > 1]:
        differ = "are classes of their own and differ in capitals, blanks, zeros or Unicode forms alone"
        warnings.warn(f"{name}: {', '.join(alike)} {differ}; if they are the same, give them one name", stacklevel=5)
    number = {key: index for index, key in enumerate(dict.fromkeys((together or {}).values()))}
    listings = dict[str, Listing]()
    for part, images in parts.items():
        members = [images.get(of, []) for of in class_names]
        names = [file for files in members for file in files]
        labels = torch.arange(len(members)).repeat_interleave(torch.tensor([len(files) for files in members]))
        group = None if together is None else torch.tensor([number[together[f]] for f in names], dtype=torch.int64)
        listings[part] = Listing(names, labels, group)
    groups = [(part, {*listing.group.tolist()}) for part, listing in listings.items() if listing.group is not None]
    for (part, ids), (other, others) in combinations(groups, 2):
        if both := len(ids & others):
            leak = f"{number_of(both, 'groups by group_by= are')} in {part} and in {other}"
            warnings.warn(f"{leak}: what is measured there is partly memory", stacklevel=5)
    return class_names, listings


def left_out(name: str, base: Path, every: Sequence[str], notes: list[str]) -> Collection[str]:
    """Those of some pictures that cannot be read, which ``notes`` is told; none where they start elsewhere."""
    if not any(os.path.exists(base / file) for file in every):
        return ()
    bad = dict(damaged(name, [FileSplit(base, every, torch.zeros(len(every)), 1)]))
    if bad:
        of = number_of(len(bad), "damaged files are left out")
        notes.append(f"{of}: {named([*bad.items()][:NAMED], NAMED)}{', …' * (len(bad) > NAMED)}")
    return bad


def hold_out(
    part: str,
    share: float,
    listings: dict[str, Listing],
    rank: Tensor,
    class_names: tuple[str, ...],
    seed: int,
    notes: list[str],
) -> Tensor:
    """Move a share of the training pictures, the first by ``rank``, and of their groups, into a part of its own.

    Returns:
        The ranks of those that stay.
    """
    names, labels, group = pool = listings["train"]
    out = held_out(labels, share, rank, group)
    if not out.any():
        why = "each class has one alone, or all of it belongs together"
        if group is not None and (number := len(group.unique())) < len(group):
            why += f" ({number_of(number, 'groups')} of {len(group):,} pictures: group bursts, not cameras or classes)"
        remedy = "test=0 trains on all of them" if part == "test" else "leave val out"
        raise ValueError(f"no picture can be held out as {part}: {why}; {remedy}")
    listings |= {"train": pool.where(~out), part: pool.where(out)}
    whole, large, number = "", "", int(out.sum())
    if group is not None:
        sizes = group.unique(return_counts=True)[1]
        of = f"{number_of(len(sizes), 'groups')}, the largest of {int(sizes.max()):,}"
        whole, large = f", groups and copies whole: {of}", ", or its groups are too large"
        if abs(number - (singly := int(held_out(labels, share, rank).sum()))) > OVER * singly:
            whole += f"; {share:g} was asked, and groups are large: {100 * number / len(names):.0f} % are held out"
    notes.append(f"{number:,} of {len(names):,} pictures are held out as {part} (seed {seed}{whole})")
    if none := [name for c, name in enumerate(class_names) if not (labels[out] == c).any()]:
        notes.append(f"no picture of {listed(none)} is among them: there is one alone, or all belong together{large}")
    return rank[~out]
