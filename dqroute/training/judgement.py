"""What is judged at the end of a training: out of fold on features, on training images end to end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dqroute.core.judging import first_of_each
from dqroute.core.rings import ENOUGH
from dqroute.data.disk import write_tensors
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.methods.base import Method
from dqroute.methods.prediction import Judged
from dqroute.models.heads import Heads
from dqroute.runs.outsiders import keep_typical
from dqroute.runs.run import JUDGED, Run

KEPT = 100_000_000  # logits out of fold, of two bytes each, that a run folder takes at most


@torch.no_grad()
def judge(run: Run, model: Method, data: ImageSet, fold: Tensor, device: torch.device) -> dict[str, Any]:
    """Have the method settle what it learns of training images; returns what provenance tells of it.

    With heads on features by those that never saw an image, its ``fold``, int64 ``[N]``, being that of who did not;
    what they said is left in the run folder, unless it is more than ``KEPT`` numbers. End to end by predictions for
    some training images of each class.
    """
    heads, train = model.eval().network, data.train
    if not isinstance(heads, Heads):
        few = train.at(first_of_each(train.labels, ENOUGH))
        logits = torch.cat([model.outputs(images).logits.cpu() for images in few.chunks(256)], dim=1)
        model.cpu().settle(Judged(logits, few.labels))
        model.to(device)
        return {"judge": "training"}
    assert isinstance(train, FeatureSplit)
    known, right = fold >= 0, torch.zeros(2, len(train), dtype=torch.bool)
    honest = model.judge == "out-of-fold" and bool(known.any())
    said: list[Tensor] = []
    for part in torch.arange(len(fold)).split(512):
        every = heads.of_sets(train.features[part].to(device)).cpu()
        own, apart = every[:, -1].movedim(1, 0), heads.out_of_fold(every, fold[part])
        right[:, part] = torch.stack([z.mean(dim=0).argmax(dim=1) == train.labels[part] for z in (own, apart)])
        said.append((apart[:, known[part]] if honest else own).half())
    taken = Judged(torch.cat(said, dim=1), train.labels[known] if honest else train.labels)
    model.cpu().settle(taken)
    model.to(device)
    told: dict[str, Any] = {
        "judge": model.judge if honest else "training",
        "training_accuracy": right[0].float().mean().item(),
    }
    if heads.folds:
        told["not_judged"] = int((~known).sum())
    if known.any():
        told["out_of_fold_accuracy"] = right[1, known].float().mean().item()
        if honest and taken.logits.numel() <= KEPT:
            kept = {"logits": taken.logits, "labels": taken.labels, "fold": fold[known]}
            kept["images"] = known.nonzero().flatten()
            write_tensors(run.folder / JUDGED, kept, {"digest": run.settings["digest"]})
        told["near_copies"] = keep_typical(run, train, fold)
    return told
