"""Rendered characters: 100 classes whose intrinsic difficulty is known, and can be tied to their rarity at will."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dqroute.core.checks import checked_whole
from dqroute.data.draw import Draw, generator
from dqroute.data.image_set import Augmentation, ImageSet, Split
from dqroute.data.sets import glyph_rendering as rendering
from dqroute.data.sets.glyph_rendering import CHARACTERS


def glyphs(
    *,
    imbalance: float | None = 100.0,
    seed: int = 0,
    groups: str = "auto",
    val: float | int | None = None,
    n_max: int = 500,
    test_per_class: int = 100,
    size: int = 32,
    difficulty_correlation: float | None = 0.0,
) -> ImageSet:
    """Characters in the typefaces that come with matplotlib; test images use typefaces held out of training.

    The test images depend on neither seed nor imbalance.

    Args:
        imbalance, groups, val: see :func:`dqroute.load`; an imbalance of None is the balanced set.
        seed: decides the training images and, with ``difficulty_correlation``, which classes are rare.
        n_max: training images of the largest class.
        test_per_class: test images of every class.
        size: side of the images in pixels.
        difficulty_correlation: rank correlation between a class's rarity and its true difficulty: 1 makes the hard
            classes rare, -1 the easy ones, 0 leaves rarity and difficulty unrelated. None keeps the field's order,
            class 0 the largest.
    """
    for name, value, least in (("n_max", n_max, 1), ("test_per_class", test_per_class, 1), ("size", size, 8)):
        checked_whole(f"{name} of glyphs", value, least)
    difficulty = true_difficulty()
    order: str | list[int] = "label"
    if difficulty_correlation is not None:
        difficulty_correlation = float(difficulty_correlation)
        order = order_by_difficulty(difficulty, difficulty_correlation, seed).tolist()
    labels, test_labels = (torch.arange(len(CHARACTERS)).repeat_interleave(n) for n in (n_max, test_per_class))
    pool, test = (
        rendering.draw_nuisances(*key).flatten(0, 1) for key in ((n_max, "train", seed), (test_per_class, "test"))
    )

    def at(indices: Tensor) -> Split:
        return Split(rendering.render(labels[indices], pool[indices], rendering.TRAIN_TYPEFACES, size), labels[indices])

    return ImageSet.drawn(
        Draw(imbalance, seed, groups, val, order=order),
        labels,
        at,
        name="glyphs",
        test=Split(rendering.render(test_labels, test, rendering.TEST_TYPEFACES, size), test_labels),
        class_names=CHARACTERS,
        augmentation=Augmentation(padding=max(1, size // 16), flip=False),
        identity={
            "name": "glyphs",
            "version": rendering.VERSION,
            "imbalance": imbalance,
            "seed": seed,
            "val": val,
            "groups": groups,
            "n_max": n_max,
            "test_per_class": test_per_class,
            "size": size,
            "difficulty_correlation": difficulty_correlation,
            "difficulty": hashlib.sha256(str(difficulty.tolist()).encode()).hexdigest()[:12],
        },
        true_difficulty=difficulty,
    )


@cache
def true_difficulty() -> Tensor:
    """The error rate of each class, float64 ``[C]``, as ``tools/glyph_difficulty.py`` measured it."""
    errors = json.loads(Path(__file__).with_name("glyph_difficulty.json").read_text(encoding="utf-8"))["error"]
    return torch.tensor([errors[character] for character in CHARACTERS], dtype=torch.float64)


def order_by_difficulty(difficulty: Tensor, correlation: float, seed: int) -> Tensor:
    """Classes from head to tail such that rarity correlates with difficulty.

    Ranks classes by ``ρ d + sqrt(1 - ρ²) e``, d and e from :func:`hardness_and_chance`. Spearman's coefficient comes
    out within about 0.1 of ρ, the ``correlation``; ValueError unless that is from -1 to 1.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"difficulty_correlation is from -1 (rare is easy) to 1 (rare is hard); got {correlation}")
    hardness, chance = hardness_and_chance(difficulty, seed)
    return (correlation * hardness + math.sqrt(1 - correlation**2) * chance).argsort(stable=True)


def hardness_and_chance(difficulty: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The rank of ``difficulty [C]``, and a random permutation made uncorrelated with it; float64, standardised."""

    def standardised(values: Tensor) -> Tensor:
        centred = values - values.mean()
        return centred / centred.square().mean().sqrt()

    hardness = standardised(difficulty.argsort(stable=True).argsort().double())
    noise = standardised(torch.randperm(len(difficulty), generator=generator("rarity", seed)).double())
    # A bare permutation of 100 classes correlates by ±0.1 by chance, which would blur the dial.
    return hardness, standardised(noise - (noise * hardness).mean() * hardness)
