"""What a training leaves behind tells of the pictures themselves: labels that look wrong."""

from __future__ import annotations

import os

import pandas as pd
import torch

from dqroute.core.outputs import mean_logits
from dqroute.data.image_set import AnySplit, FeatureSplit, ImageSet
from dqroute.methods.dqroute import DQRoute
from dqroute.runs.evaluate import checked_data
from dqroute.runs.judged import fused
from dqroute.runs.run import Run, opened


def suspect_labels(run: Run | str | os.PathLike[str], data: ImageSet | None = None, most: int = 50) -> pd.DataFrame:
    """Training pictures whose label the model doubts that never saw them, the most doubtful first.

    A picture is suspect if another class is at least as probable, out of fold, as that class is for its own pictures on
    average (confident learning, Northcutt et al., 2021): a bar for each class, so that rare classes are heard too.

    Args:
        run: a finished run on features, or its folder, judged out of fold; data: its image set, unless the run has it.
        most: how many rows at most.

    Returns:
        A table with a row a picture. Its columns are ``file`` (or ``image``, its number, where no files are known),
        ``label``, ``says``, the class that it looks like, and the probabilities of both.

    Raises:
        ValueError: if the run has no predictions out of fold, or the data are not its own.
    """
    run = opened(run)
    data = checked_data(run, data, "test")
    kept, model, names = fused(run), run.model, run.settings["class_names"]
    # Of others than DQRoute the calibrated mean is what is known best.
    own = isinstance(model, DQRoute)
    log_p = kept.log_p if own else model.calibration(mean_logits(kept.outputs).to(model.mean.device)).cpu()
    labels = kept.labels
    p = log_p.exp()
    index = torch.arange(len(labels))
    of_label = p[index, labels]
    counts = labels.bincount(minlength=len(names)).clamp_min(1)
    bar = torch.zeros(len(names), dtype=p.dtype).index_add_(0, labels, of_label) / counts
    # Classes of which nobody judged a picture have no bar to reach.
    bar[labels.bincount(minlength=len(names)) == 0] = torch.inf
    over = p.masked_fill(p < bar, 0)
    best, says = over.max(dim=1)
    doubtful = ((best > 0) & (says != labels)).nonzero().flatten()
    order = doubtful[(best - of_label)[doubtful].argsort(descending=True)][:most]
    rows = []
    for i in order.tolist():
        image = int(kept.images[i])
        rows.append(
            (
                where(None if data is None else data.train, image),
                names[labels[i]],
                names[says[i]],
                of_label[i].item(),
                best[i].item(),
            )
        )
    column = "image" if data is None or file_of(data.train, 0) is None else "file"
    return pd.DataFrame(rows, columns=[column, "label", "says", "probability of label", "probability"])


def file_of(split: AnySplit, image: int) -> str | None:
    """The file of a picture, below the set's folder; None where it is not known."""
    names = getattr(split.pictures if isinstance(split, FeatureSplit) else split, "names", None)
    return None if names is None else names[image]


def where(split: AnySplit | None, image: int) -> str | int:
    """What a picture is called by: its file, or its number."""
    name = None if split is None else file_of(split, image)
    return image if name is None else name
