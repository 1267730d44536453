"""Deal the world: which characters are rare is the reader's to say, and a classifier is trained on it in the page."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from dqroute.core.checks import checked_whole
from dqroute.core.difficulty import DifficultyTracker
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.data.sets.glyphs import hardness_and_chance
from dqroute.runs.evaluate import evaluate
from dqroute.runs.run import Run
from dqroute.show.classes import by_class
from dqroute.show.live import Live, embed

LEARNED, HONEST = "judged on training images", "judged out of fold"


def judged_difficulty(run: Run, data: ImageSet) -> dict[str, Tensor]:
    """Difficulty of each class, ``[C]``, by a run's predictions for images that it has learned, and out of fold."""
    kept = run.judged
    sayings = {
        LEARNED: (run.model.predict(data.train).probabilities.log(), data.train.labels),
        HONEST: (kept["logits"].mean(dim=0).log_softmax(dim=1), kept["labels"]),
    }
    found: dict[str, Tensor] = {}
    for name, (log_p, labels) in sayings.items():
        tracker = DifficultyTracker(len(data.counts))
        tracker.observe(log_p, labels)
        tracker.end_epoch()
        found[name] = tracker.difficulty
    return found


def deal_the_world(
    pool: ImageSet, data: ImageSet, run: Run, components: int = 48, epochs: int = 20, seed: int = 0
) -> Live:
    """A hundred characters by rarity and difficulty, dealt by a slider, and what a tracker in training makes of them.

    In the page a cosine classifier with logit adjustment is trained on the features of the pool, five fold heads beside
    it, and two trackers watch: one is shown predictions for images that were trained on, one those out of fold.

    Args:
        pool: ``dq.load("glyphs", imbalance=1, backbone=...)``, from which every world is dealt.
        data: a world with the same ``n_max``; its counts are those that are dealt out.
        run: of one classifier on that world, for the still picture and its sentence.
        components: numbers a picture, 8 bits each, a multiple of four.
        seed: of the world where rarity and difficulty are unrelated.
    """
    if checked_whole("components", components, 4) % 4:
        raise ValueError(f"components is a multiple of four; got {components}")
    most, size = int(data.counts.max()), len(pool.counts)
    parts = [part for part in (pool.train, pool.test) if isinstance(part, FeatureSplit)]
    if len(parts) < 2 or pool.true_difficulty is None:
        raise ValueError("a world is dealt from features of characters: dq.load('glyphs', imbalance=1, backbone=...)")
    if pool.counts.tolist() != [most] * size:
        raise ValueError(f"every class of the pool must have {most} images, as many as the largest that is dealt")
    train, test = (part.features[part.labels.argsort(stable=True)][:, :components] for part in parts)
    step = max(part.abs().max().item() for part in (train, test)) / 127
    hardness, chance = hardness_and_chance(pool.true_difficulty, seed)
    shown = {
        "pool": (train / step).round().to(torch.int8).numpy(),
        "test": (test / step).round().to(torch.int8).numpy(),
        "names": list(pool.class_names),
        "counts": data.counts.sort(descending=True).values.tolist(),
        "hardness": hardness.numpy().astype(np.float32),
        "chance": chance.numpy().astype(np.float32),
        "epochs": epochs,
    }
    error = 100 - 100 * torch.tensor(evaluate(run).per_class)
    tracked = judged_difficulty(run, data)
    learned, honest = (spearmanr(tracked[name], error).statistic for name in (LEARNED, HONEST))
    panels = {name: (error, values, data.groups) for name, values in tracked.items()}
    figure = by_class(panels, "error on test pictures, %", "tracked difficulty")
    alt = (
        "Tracked difficulty of a hundred characters and their error on test pictures, where rarity and difficulty are "
        f"unrelated: judged on training images their rank correlation is {signed(learned)}, and the classes that fail "
        f"most look easy; judged out of fold it is {signed(honest)}."
    )
    return embed("deal", shown, figure, alt)


def signed(value: float) -> str:
    """``+0.67``, ``−0.44``."""
    return f"{value:+.2f}".replace("-", "−")
