"""How long the features of a set will take, measured on a few of its pictures."""

from __future__ import annotations

from time import perf_counter

import torch

from dqroute.data.feature_cache import default_cache
from dqroute.data.feature_set import BATCH, cache_of, content_keys, pictures, side_by_side, workers_of
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.models.device import resolve_device
from dqroute.models.encoders import loaded


def features_take(data: ImageSet, backbone: str, device: str = "auto") -> str:
    """A few words on how long the features of a set will take here, or that they are known already.

    Measured on a batch of training pictures for each core, from all over the set, after two to warm up. Where one of
    them cannot be read nothing is measured: whoever computes the features names it with all others.
    """
    encoder, split = loaded(backbone).to(resolve_device(device)), data.train
    assert not isinstance(split, FeatureSplit)
    some = split.at(torch.linspace(0, len(split) - 1, min(BATCH * workers_of(encoder), len(split))).long())
    store, wanted, seconds = cache_of(encoder, default_cache()), encoder.preprocessing, 0.0
    try:
        new = [index for index, key in enumerate(content_keys(some)) if key not in store]
        for part in (new[:2], new) if new else ():
            started = perf_counter()
            for _ in side_by_side(encoder, pictures(some, part, wanted.size, wanted.interpolation)):
                pass
            seconds = perf_counter() - started
    except ValueError:
        return "files that cannot be read are looked for"
    if not new:
        return "their features are known already"
    total = seconds / len(some) * sum(map(len, data.splits.values()))
    return f"their features take {duration(total)} here"


def duration(seconds: float) -> str:
    """A time in words: seconds, minutes or hours, to two digits."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.2g} {unit}s"
    return f"about {max(1, round(seconds))} second{'s' * (seconds >= 1.5)}"
