"""Should class weights also shift the answer? Judged out of fold, on characters, with one linear head.

    python tools/shift.py [--draws 4]

Three worlds (the rare classes easy, unrelated, hard), each in several draws: gradient histograms, five folds stratified
by class, a head trained by `DQRouteLoss` on four of them and asked for the fifth. Printed is the mean accuracy of
classes, and of few-shot classes, where weights shift less where the prior follows them; in points, paired by draw.
"""

from __future__ import annotations

import argparse
from itertools import product

import pandas as pd
import torch
from glyph_difficulty import gradient_histograms
from torch import Tensor

import dqroute as dq
from dqroute.core import DQRouteLoss, ShotGroups
from dqroute.runs.tables import with_interval

FOLDS, EPOCHS = 5, 8


def folds(labels: Tensor, seed: int) -> Tensor:
    """The fold of each image, int64 ``[N]``; each class is dealt out evenly, from a fold of its own on."""
    generator, fold = torch.Generator().manual_seed(seed), torch.empty_like(labels)
    for c in labels.unique().tolist():
        members = (labels == c).nonzero().flatten()
        order = members[torch.randperm(len(members), generator=generator)]
        fold[order] = (torch.arange(len(order)) + int(torch.randint(FOLDS, (1,), generator=generator))) % FOLDS
    return fold


def head(features: Tensor, labels: Tensor, counts: Tensor, groups: ShotGroups, alpha: float, follows: bool) -> Tensor:
    """A linear head, ``[D, C]``, trained on features ``[N, D]``."""
    torch.manual_seed(0)
    loss = DQRouteLoss(counts, groups, experts=1, start=0.3, alpha=alpha, prior_follows=follows)
    weight = torch.zeros(features.shape[1], len(counts), requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=0.02, weight_decay=1e-3)
    for epoch in range(EPOCHS):
        for part in torch.randperm(len(features)).split(256):
            optimizer.zero_grad()
            loss((features[part] @ weight)[None], labels[part]).backward()
            optimizer.step()
        loss.end_epoch((epoch + 1) / EPOCHS)
    return weight.detach()


def main() -> None:
    """Print a row for each α."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4)
    gains: dict[float, list[tuple[float, float]]] = {0.0: [], 0.5: [], 1.0: []}
    for correlation, seed in product((-1, 0, 1), range(parser.parse_args().draws)):
        data = dq.load("glyphs", imbalance=100, n_max=200, difficulty_correlation=correlation, seed=seed)
        x, y = gradient_histograms(data.train.take(range(len(data.train)))), data.train.labels
        x, fold = (x - x.mean(dim=0)) / (x.std(dim=0) + 1e-3), folds(y, seed)
        for alpha, found in gains.items():
            accuracy = {}
            for follows in (False, True):
                right = torch.zeros(len(y))
                for k in range(FOLDS):
                    own = fold == k
                    weight = head(x[~own], y[~own], data.counts, data.groups, alpha, follows)
                    right[own] = ((x[own] @ weight).argmax(dim=1) == y[own]).float()
                accuracy[follows] = torch.stack([right[y == c].mean() for c in range(len(data.counts))])
            gap = 100 * (accuracy[False] - accuracy[True])
            found.append((gap.mean().item(), gap[list(data.groups.few)].mean().item()))
        print(f"world {correlation:+d}, draw {seed} done", flush=True)
    for alpha, found in gains.items():
        every, few = (with_interval(pd.Series(column)) for column in zip(*found, strict=True))
        print(f"α = {alpha:g}: all classes {every}, few-shot classes {few}")


if __name__ == "__main__":
    main()
