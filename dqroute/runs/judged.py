"""What a run says of its training images out of fold, read back from its folder."""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor

from dqroute.core.outputs import UNKNOWN, ExpertOutputs
from dqroute.data.alike import LEFT, grouped
from dqroute.data.image_set import FeatureSplit, ImageSet
from dqroute.methods.prediction import Judged, Prediction
from dqroute.models.heads import Heads
from dqroute.runs.run import Run

LEAK = 0.05  # share of the judged with a near copy elsewhere, from which on a warning says so


def warn_of_near_copies(run: Run) -> None:
    """Warn, once, where many training images have a near copy among those that their judges learned from."""
    if (found := run.near_copies) and found[0] > LEAK * found[1]:
        ungrouped = "if these are bursts, load with group_by= and train again"
        hint = LEFT if grouped(run.data, run.settings["data"]) else ungrouped
        warnings.warn(
            f"{found[0]:,} of {found[1]:,} training pictures were judged by heads that had learned from a near copy "
            f"of them: what follows promises too much; {hint}",
            stacklevel=1,
        )


@torch.no_grad()
def judged_outputs(run: Run, data: ImageSet | None) -> ExpertOutputs:
    """What the experts said of training images out of fold, with what they read, where its images are at hand."""
    logits, model, read = run.judged["logits"], run.model, UNKNOWN
    warn_of_near_copies(run)
    if data is not None and isinstance(data.train, FeatureSplit) and isinstance(model.network, Heads):
        read = model.network.read(data.train.features[run.judged["images"]])
    return ExpertOutputs(logits, read)


@torch.no_grad()
def out_of_fold(run: Run, data: ImageSet | None) -> tuple[Prediction, Tensor]:
    """What a run says of its training images out of fold, and their labels; ValueError if training left nothing.

    It looks at no image twice: what is fitted on predictions, calibration and fusion, is fitted anew for each fold, on
    those for the other folds. The images are wanted by detectors alone that read features.
    Fitting takes seconds of ten thousand images of a hundred classes, so that the run keeps what came of it.
    """
    (logits, read), (labels, fold) = judged_outputs(run, data), (run.judged[name] for name in ("labels", "fold"))
    model, kept = deepcopy(run.model).cpu(), vars(run).setdefault("said_out_of_fold", {})
    if (known := read is not UNKNOWN) in kept:
        return kept[known]
    parts, order = [], fold.argsort(stable=True)
    with model.unadapted():
        for own in [fold == index for index in fold.unique()]:
            model.settle(Judged(logits[:, ~own], labels[~own]))
            parts.append(model.answers(ExpertOutputs(logits[:, own], read[:, own] if read.ndim > 1 else read)))
    columns = (torch.cat(column)[order.argsort()] for column in zip(*parts, strict=True))
    return kept.setdefault(known, (Prediction(*columns), labels))
