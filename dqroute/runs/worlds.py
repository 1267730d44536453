"""A run in other worlds: test sets drawn long-tailed forwards and backwards, adapted to and not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dqroute.data.draw import generator
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.measures.worlds import agreeing_weights, reweighed, shares_in
from dqroute.methods.ensembles import SADE
from dqroute.runs.evaluate import three_ways
from dqroute.runs.own_data import at_work, checked_data
from dqroute.runs.run import WORLDS, RunOrFolder, opened

FACTORS = (50, 25, 10, 5, 2)
# Share of an image's features that the second of two views lacks: a plain choice.
BLURRED = 0.7


def worlds_of(
    run: RunOrFolder,
    data: ImageSet | None = None,
    *,
    split: str = "test",
    factors: Sequence[int] = FACTORS,
    device: str = "auto",
) -> pd.DataFrame:
    """Accuracy where classes are as common as in training, and the other way round; asked for like a report.

    For each factor the split is thinned twice to that imbalance, ``forward`` with the training set's head as head and
    ``backward`` with its tail; factor 1 is the split as it is. A row a world and ``prediction``: ``"routed"``, the
    run's own; ``"plain mean"`` of its experts; ``"calibrated"``, that mean calibrated. Columns, in %: ``as it is``;
    ``adapted``, by the shares of the shot groups that the images' predictions tell, their labels unseen
    (:mod:`dqroute.measures.worlds`); ``told``, by the true shares. Of SADE there is also ``"aggregated"``, its own way
    to adapt: the experts weighed so that they agree on two views of each image, which are the picture and its mirror
    image, or its features and those with a share of them left out.
    """
    run = opened(run)
    data, file = checked_data(run, data, split), WORLDS.format(split=split)
    if (known := run.read(file)) is not None and {1, *factors} == {row["imbalance"] for row in known}:
        return pd.DataFrame(known)
    model, images = at_work(run, data, split, device)
    said: list[dict[str, Tensor]] = []
    views: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), model.unadapted():
        for batch, other in two_views(images, run.seed):
            outputs = model.outputs(batch)
            if isinstance(model, SADE):
                views.append((outputs.logits.cpu(), model.outputs(other).logits.cpu()))
            said.append(three_ways(model, outputs))
    rings, labels, rank = run.groups.of_class(), images.labels, model.counts.cpu().argsort(descending=True, stable=True)
    rows: list[dict[str, Any]] = []
    for factor in (1, *factors):
        for direction in ("forward", "backward") if factor > 1 else ("balanced",):
            there = drawn(labels, rank if direction != "backward" else rank.flip(0), factor, run.seed)
            true = rings[labels[there]].bincount(minlength=3) / len(there)
            for name in said[0]:
                log_p = torch.cat([part[name] for part in said])[there]
                found = shares_in(log_p, rings)
                kinds = {"as it is": log_p, "adapted": reweighed(log_p, rings, found.share) if found.sure else log_p}
                kinds["told"] = reweighed(log_p, rings, true)
                right = {kind: (p.argmax(dim=1) == labels[there]).double().mean() for kind, p in kinds.items()}
                shown = {kind: round(100 * share.item(), 3) for kind, share in right.items()}
                world = {"world": direction, "imbalance": factor, "images": len(there)}
                rows.append(world | {"prediction": name} | shown)
            if views:
                first, second = (torch.cat(parts, dim=1)[:, there] for parts in zip(*views, strict=True))
                said_so = torch.einsum("k,knc->nc", agreeing_weights(first, second), first).argmax(dim=1)
                share = round(100 * (said_so == labels[there]).double().mean().item(), 3)
                before = {name: row[name] for row in rows[-2:-1] for name in ("as it is", "told")}
                rows.append(world | {"prediction": "aggregated"} | before | {"adapted": share})
    run.keep(file, rows)
    return pd.DataFrame(rows)


def two_views(images: AnySplit, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images, and another view of each."""
    random = generator("another view", seed)
    for batch in images.chunks(256):
        if batch.ndim == 2:
            yield batch, batch * (torch.rand(batch.shape, generator=random) >= BLURRED) / (1 - BLURRED)
        else:
            yield batch, batch.flip(-1)


def drawn(labels: Tensor, head_to_tail: Tensor, imbalance: float, seed: int) -> Tensor:
    """Images, int64, thinned to ``n_c = n · imbalance^(-rank / (C - 1))``, at least one where there is one."""
    place = torch.empty_like(head_to_tail)
    place[head_to_tail] = torch.arange(len(head_to_tail))
    kept = []
    for c, members in enumerate([(labels == c).nonzero().flatten() for c in range(len(head_to_tail))]):
        keep = round(len(members) * imbalance ** (-int(place[c]) / max(1, len(head_to_tail) - 1)))
        order = torch.randperm(len(members), generator=generator("another world", seed, c))
        kept.append(members[order[: max(keep, min(1, len(members)))]])
    return torch.cat(kept).sort().values
