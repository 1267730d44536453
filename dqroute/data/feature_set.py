"""Feature sets: what a pretrained encoder makes of an image set, computed once, then trained on in seconds."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.checks import checked_whole
from dqroute.data.checking import check_files
from dqroute.data.feature_cache import ROWS, FeatureCache, default_cache, key_of
from dqroute.data.files.decoding import read_rgb
from dqroute.data.files.reading import cores, read_ahead
from dqroute.data.files.split import FileSplit
from dqroute.data.image_set import AnySplit, Encoding, FeatureSplit, ImageSet, Split
from dqroute.data.options import names_checked
from dqroute.data.progress import Progress
from dqroute.models.device import resolve_device, uses_bf16
from dqroute.models.encoders import BUNDLED, SHARPER, Encoder, loaded

OWN = ("folder", "table")  # sets of one's own pictures, which start from a pretrained network
# Pictures of one's own, up to which the larger size is taken. What it brings differs: of four folders by
# benchmarks/small_folder.py two were better at it, two at 160 pixels.
FEW = 5000
COMPONENTS = 256
SAME = 1e-4  # below this share of the largest, images do not differ in a feature or along an axis
CHUNK = 4096  # rows of features that are in memory at a time, as they come from the encoder
BATCH = 16  # pictures that go through an encoder at a time: more of them no longer fit the processor's caches
ON_GPU = 128  # the same on a GPU, which wants work for all its units
MOST = 16  # batches at a time, each of which takes memory


@names_checked
def features(
    data: ImageSet,
    backbone: str = BUNDLED,
    *,
    components: int = COMPONENTS,
    views: int = 1,
    encoding: Encoding | None = None,
    device: str = "auto",
    progress: bool = True,
    check: bool = True,
) -> ImageSet:
    """The same set as features of a pretrained backbone: each picture one vector, for all methods to train on.

    What was computed before is read from the cache (``$DQROUTE_CACHE``, or ``~/.cache/dqroute``); what is new is
    computed picture by picture and kept as it goes, so that after an interruption it goes on from there. The vectors
    are then standardised and turned to their principal components, both by the training images. Pictures in files are
    read at the backbone's own size, those in memory enlarged or shrunk to it: a model of pictures that were shrunk
    before sees sharper ones when it is given files.

    Args:
        data: an image set; one of features is given back as it is.
        backbone: a name, see :mod:`dqroute.models.encoders`.
        components: how many principal components to keep at most.
        views: 1, or 2 for the mirror images of the training pictures too, for training to take one or the other: never
            of anything with writing on it.
        encoding: how pictures are turned to features, of an earlier set; None takes it from these training images.
        device: where to compute; progress: whether to show how far it is.
        check: whether to look through all files that are new before the first is computed, so that damaged ones of any
            part are named together; else each is found when it is its turn, and what was computed by then is kept.

    Raises:
        ValueError: naming pictures that cannot be read or a backbone that cannot be used.
        FileNotFoundError: if the backbone's weights cannot be had. OSError: if the cache cannot be written.
    """
    if data.encoding is not None:
        if data.encoding.backbone != backbone:
            raise ValueError(
                f"{data.name} is a set of features of {data.encoding.backbone}, and not of {backbone!r}; leave "
                "backbone out, or load the pictures themselves"
            )
        return data
    checked_whole("components", components, 1)
    if views not in (1, 2) or isinstance(views, bool):
        raise ValueError(f"views is 1, the pictures as they are, or 2, their mirror images too; got {views!r}")
    encoder = loaded(backbone).to(resolve_device(device))
    store = cache_of(encoder, default_cache())
    if check:
        how = data.train.fit if isinstance(data.train, FileSplit) else "crop"
        check_files(data, lambda key: as_seen(key, how) in store, progress)
    # As they come from the encoder features stay in the cache's files: they are large.
    keys = {
        part: encoded(split, encoder, store, f"{data.name} {part}", progress) for part, split in data.splits.items()
    }
    centre, scale, axes = (
        (encoding.centre, encoding.scale, encoding.axes)
        if encoding
        else principal(lambda: rows_of(store, keys["train"]), components)
    )

    def turned(keys: Sequence[bytes]) -> Tensor:
        return torch.cat([projected(rows, centre, scale, axes) for rows in rows_of(store, keys)])

    parts: dict[str, Any] = {}
    for part, split in data.splits.items():
        assert not isinstance(split, FeatureSplit)
        parts[part] = FeatureSplit(turned(keys[part]), split.labels, split, whole=partial(rows_of, store, keys[part]))
    if views == 2:
        mirrored = encoded(data.train, encoder, store, f"{data.name} train, mirrored", progress, mirrored=True)
        parts["train"] = replace(parts["train"], mirrored=turned(mirrored))
    wanted = encoder.preprocessing
    encoding = Encoding(backbone, encoder.weights, wanted.size, wanted.interpolation, centre, scale, axes)
    told = {"backbone": backbone, "weights": encoder.weights, "size": wanted.size, "components": axes.shape[1]}
    identity = data.identity | {"features": told | ({"views": 2} if views == 2 else {})}
    return replace(data, **parts, augmentation=None, identity=identity, encoding=encoding)


def fitting(data: ImageSet) -> str:
    """The encoder that suits a set unless one is named: of few pictures of one's own the sharper."""
    return SHARPER if data.identity.get("name") in OWN and len(data.train) <= FEW else BUNDLED


def cache_of(encoder: Encoder, base: Path) -> FeatureCache:
    """The cache for one encoder, its weights, its code and its precision on this machine."""
    precision = "bf16" if uses_bf16("auto", encoder.mean.device) else "fp32"
    what = f"{encoder.weights} {encoder.preprocessing} {precision} {encoder.code}"
    name = f"{encoder.name.replace(':', '-').replace('/', '-')}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    return FeatureCache(base / "features" / name, encoder.width)


def encoded(
    split: AnySplit, encoder: Encoder, store: FeatureCache, name: str, progress: bool, mirrored: bool = False
) -> list[bytes]:
    """The keys of a split's pictures in the cache, after the features of those that are new were computed."""
    assert not isinstance(split, FeatureSplit)
    keys = content_keys(split)
    if mirrored:
        keys = [key_of(b"mirrored" + key) for key in keys]
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    new = sorted(index for key, index in first.items() if key not in store)
    kept: list[Tensor] = []
    done = 0
    shown = Progress(name, len(keys), "picture", done=len(keys) - len(new), show=progress and bool(new))
    with shown.bar:
        try:
            wanted, batch = encoder.preprocessing, batch_of(encoder, len(new))
            batches = pictures(split, new, wanted.size, wanted.interpolation, batch)
            for rows in side_by_side(encoder, (batch.flip(3) if mirrored else batch for batch in batches)):
                kept.append(rows)
                shown.step(len(rows))
                if sum(map(len, kept)) >= ROWS:
                    rows, kept = torch.cat(kept), []
                    store.add([keys[index] for index in new[done : done + len(rows)]], rows)
                    done += len(rows)
        finally:
            # The last ones; or, where a picture cannot be read, those before it.
            if kept:
                rows = torch.cat(kept)
                store.add([keys[index] for index in new[done : done + len(rows)]], rows)
    return keys


def workers_of(encoder: Encoder) -> int:
    """How many batches go through an encoder at a time: on a processor one for each core that torch may use."""
    return min(cores(), torch.get_num_threads(), MOST) if encoder.several and encoder.mean.device.type == "cpu" else 1


def batch_of(encoder: Encoder, number: int) -> int:
    """How many of so many pictures go through an encoder at a time; a few are divided among the cores."""
    if encoder.mean.device.type != "cpu":
        return ON_GPU
    return min(BATCH, max(1, -(-number // workers_of(encoder))))


def side_by_side(encoder: Encoder, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Features of batches, float32 ``[B, D]`` each, in order: on a processor each core takes a batch.

    Cores that share one batch wait for each other at every layer.
    """
    wrong, waiting = list[ValueError](), deque[Future[Tensor]]()
    workers, threads = workers_of(encoder), torch.get_num_threads()
    alone = partial(torch.set_num_threads, 1) if workers > 1 else None
    try:
        with ThreadPoolExecutor(workers, initializer=alone) as pool:
            for batch in until_wrong(batches, wrong):
                waiting.append(pool.submit(encoder, batch))
                if len(waiting) > workers:
                    yield waiting.popleft().result().cpu()
            while waiting:
                yield waiting.popleft().result().cpu()
    finally:
        torch.set_num_threads(threads)  # threads that are started later begin with what the last one set
    if wrong:
        raise wrong[0]


def until_wrong(batches: Iterable[Tensor], wrong: list[ValueError]) -> Iterator[Tensor]:
    """Batches up to a picture that cannot be read, of which ``wrong`` takes the error: those before it are not lost."""
    try:
        yield from batches
    except ValueError as error:
        wrong.append(error)


def rows_of(store: FeatureCache, keys: Sequence[bytes]) -> Iterator[Tensor]:
    """The features of these keys, float32 ``[n, D]``, some thousand at a time."""
    for start in range(0, len(keys), CHUNK):
        yield store.read(keys[start : start + CHUNK])


def content_keys(split: Split | FileSplit) -> list[bytes]:
    """What tells each picture from others: its pixels in memory, or its file's bytes."""
    if isinstance(split, Split):
        shape = f"{list(split.images.shape[1:])}".encode()
        return [key_of(shape + image.contiguous().numpy().tobytes()) for image in split.images]
    return [as_seen(key, split.fit) for key in split.keys]


def as_seen(key: bytes, fit: str) -> bytes:
    """The key of a file's picture as it comes to be a square."""
    return key if fit == "crop" else key_of(fit.encode() + key)


def pictures(
    split: Split | FileSplit, indices: Sequence[int], size: int, kind: str, batch: int = BATCH
) -> Iterator[Tensor]:
    """Some pictures as an encoder takes them, uint8 ``[B, 3, size, size]``, in batches; ``kind`` of interpolation."""
    parts = torch.tensor(list(indices), dtype=torch.int64).split(batch) if len(indices) else ()
    if isinstance(split, FileSplit):
        square = partial(read_rgb, side=size, kind=kind, fit=split.fit)
        yield from read_ahead(parts, split.names, split.base, lambda file, _: square(file), size, threads=cores())
    else:
        for part in parts:
            yield as_wanted(split.images[part], size, kind)


def as_wanted(images: Tensor, size: int, kind: str) -> Tensor:
    """Pictures in memory, uint8 ``[B, channels, H, W]``, as an encoder takes them: centred squares in three channels.

    ValueError for two channels, or more than three.
    """
    channels, height, width = images.shape[1:]
    if channels not in (1, 3):
        raise ValueError(f"a pretrained backbone takes grey or colour pictures; these have {channels} channels")
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, :, top : top + side, left : left + side].expand(-1, 3, -1, -1)
    if side == size:
        return square
    resized = F.interpolate(square.float(), (size, size), mode=kind, antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def principal(rows: Callable[[], Iterable[Tensor]], components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``[D]`` and deviation ``[D]`` of features, and their first principal axes ``[D, components]``.

    ``rows`` gives the features, ``[n, D]`` in pieces; it is asked twice.

    The axes are those of the standardised features, the largest entry of each positive. A feature that is the same for
    all images has an infinite deviation, so that it counts for nothing elsewhere either; and there are no axes along
    which the images do not differ, fewer than there are images.
    """
    sums = [(len(part), part.double().sum(dim=0), part.double().square().sum(dim=0)) for part in rows()]
    number, total, squares = (sum(column) for column in zip(*sums, strict=True))
    centre = total / number
    scale = (squares / number - centre.square()).clamp_min(0).sqrt()
    scale = torch.where(scale > SAME * scale.max().clamp_min(SAME), scale, torch.inf)
    standard = ((part - centre) / scale for part in rows())
    if number < len(scale):  # the same by products of images, the fewer ones
        every = torch.cat(list(standard))
        value, axes = torch.linalg.eigh(every @ every.T)
        axes = every.T @ (axes / value.clamp_min(1e-30).sqrt())
    else:
        value, axes = torch.linalg.eigh(sum(part.T @ part for part in standard))
    value, axes = value.flip(-1), axes.flip(-1)
    differ = int((value > SAME * value[0].clamp_min(SAME)).sum())
    axes = axes[:, : max(1, min(components, differ))]
    sign = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    return centre.float(), scale.float(), (axes * sign).float().contiguous()


def projected(rows: Tensor, centre: Tensor, scale: Tensor, axes: Tensor) -> Tensor:
    """Features ``[N, D]`` in terms of principal axes: ``(x - centre) / scale @ axes``."""
    return ((rows - centre) / scale) @ axes
