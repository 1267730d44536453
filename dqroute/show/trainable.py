"""The moving figure in which a reader trains: its data, small enough to stand in the page."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dqroute.core.checks import checked_whole
from dqroute.data.draw import generator
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.show.live import Live, embed

FOLDS = 2  # three judge no better here, and take a quarter longer


def train_it_yourself(
    data: ImageSet,
    still: Figure | str,
    alt: str,
    *,
    components: int = 96,
    test_images: int = 30,
    most: float = 100,
    epochs: int = 10,
) -> Live:
    """A classifier on features that the reader trains in the page, under an imbalance, a loss and weights they choose.

    A cosine softmax of scale 20 with Adam, by ``w_y · CE(z + τ log π, y)`` and ``w_c ∝ n_c^-q exp(γ d_c)``, where the
    difficulty ``d_c`` (:func:`dqroute.core.difficulty.class_difficulty`, λ = 1) is that of the epoch before, judged on
    training images or out of two folds; the reader sets τ, q and γ / 2. The page holds all training images, and a
    smaller profile takes the first of each class: so the reader's imbalance goes from that of ``data`` to ``most``.

    Args:
        data: a set of features, such as ``dq.load("photographs", imbalance=10, groups="imbalance-100")``: its groups
            stay the same at every imbalance. At 96 components its page has 3 MB.
        still: what stands for the figure in print and without script; alt: the finding, in a sentence.
        components: the first ones are taken, in eight bits each; a multiple of four.
        test_images: of each class, at most.
        most: the reader's largest imbalance; the smallest class keeps two images at least.
        epochs: passes over the training images.

    Raises:
        ValueError: if the set holds no features, has an empty shot group or cannot be thinned to ``most``.
    """
    if not isinstance(data.train, FeatureSplit) or not isinstance(data.test, FeatureSplit):
        raise ValueError(f"a reader trains on features; load {data.name!r} with a backbone, or take 'photographs'")
    if checked_whole("components", components, 4) % 4:
        raise ValueError(f"components is a multiple of four; got {components}")
    order = torch.argsort(data.counts, descending=True, stable=True)
    head, least = int(data.counts.max()), float(data.counts.max() / data.counts.min())
    if not least < most <= head / 2:
        raise ValueError(f"most lies between the set's own imbalance, {least:g}, and {head / 2:g}; got {most:g}")
    group = data.groups.of_class()[order]
    if len(group.unique()) < 3:
        raise ValueError("a shot group is empty; load the set with groups='imbalance-100' or groups='thirds'")
    train, labels = by_class(data.train, order, head)
    test, test_labels = by_class(data.test, order, test_images)
    step = train[:, :components].abs().max() / 127
    rows = [(x[:, :components] / step).round().clamp(-127, 127).to(torch.int8).numpy() for x in (train, test)]
    told = {
        "train": rows[0],
        "labels": labels.to(torch.int32).numpy().astype("uint16"),
        "starts": [0, *labels.bincount().cumsum(0).tolist()],
        "test": rows[1],
        "testLabels": test_labels.to(torch.int32).numpy().astype("uint16"),
        "dims": rows[0].shape[1],
        "classes": data.num_classes,
        "group": group.tolist(),
        "least": least,
        "most": most,
        "folds": FOLDS,
        "epochs": checked_whole("epochs", epochs, 1),
    }
    return embed("train", told, still, alt)


def by_class(split: FeatureSplit, order: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """At most ``most`` rows of each class, in random order, the classes in this order and numbered by it."""
    rows, labels = [], []
    for rank, c in enumerate(order.tolist()):
        members = (split.labels == c).nonzero().squeeze(1)
        rows.append(members[torch.randperm(len(members), generator=generator("page", c))][:most])
        labels.append(torch.full((len(rows[-1]),), rank))
    return split.features[torch.cat(rows)], torch.cat(labels)
