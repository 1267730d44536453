"""What a run says of its own training images, out of fold: the honest report where no image was held out."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from dqroute.core.judging import Judged
from dqroute.core.long_tail import ShotGroups
from dqroute.core.outputs import UNKNOWN, ExpertOutputs
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.methods.prediction import Prediction
from dqroute.models.heads import Heads
from dqroute.runs.run import Run


@torch.no_grad()
def out_of_fold(run: Run, data: ImageSet | None) -> tuple[Prediction, Tensor, ShotGroups]:
    """What a run says of its training images out of fold, their labels and the groups; ValueError if nobody said so.

    What is fitted on predictions, calibration and fusion, is fitted anew for each fold, on those for the other folds.
    The images are wanted by detectors alone that read features.
    """
    logits, labels, fold = (run.judged[name] for name in ("logits", "labels", "fold"))
    model, read = deepcopy(run.model).cpu(), UNKNOWN
    if data is not None and isinstance(data.train, FeatureSplit) and isinstance(model.network, Heads):
        read = model.network.read(data.train.features[run.judged["images"]])
    parts, order = [], fold.argsort(stable=True)
    with model.unadapted():
        for own in [fold == index for index in fold.unique()]:
            model.settle(Judged(logits[:, ~own], labels[~own]))
            parts.append(model.answers(ExpertOutputs(logits[:, own], read[:, own] if read.ndim > 1 else read)))
    columns = (torch.cat(column)[order.argsort()] for column in zip(*parts, strict=True))
    return Prediction(*columns), labels, run.groups
