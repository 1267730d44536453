"""What a training leaves behind tells of the pictures themselves: labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dqroute.core.checks import checked_whole
from dqroute.core.outputs import ExpertOutputs, mean_logits
from dqroute.data.image_set import AnySplit, ImageSet
from dqroute.data.options import names_checked
from dqroute.methods.dqroute import DQRoute
from dqroute.runs.judged import judged_outputs
from dqroute.runs.own_data import checked_data
from dqroute.runs.run import RunOrFolder, opened


@names_checked
def suspect_labels(run: RunOrFolder, data: ImageSet | None = None, most: int = 50) -> pd.DataFrame:
    """Training pictures whose label the model doubts that never saw them, the most doubtful first.

    A picture is suspect if another class is at least as probable, out of fold, as that class is for its own pictures on
    average (confident learning, Northcutt et al., 2021): a bar for each class, so that rare classes are heard too.

    Args:
        run: a finished run on features, or its folder, judged out of fold; data: its image set, unless the run has it.
        most: how many rows at most.

    Returns:
        A table with a row a picture. Its columns are ``file`` (or ``image``, its number, where no files are known),
        ``label``, ``says``, the class that it looks like, and the probabilities of both.

    ValueError for a run without predictions out of fold, or data that are not the run's.
    """
    run, most = opened(run), checked_whole("most", most, 1)
    data = checked_data(run, data, "test")
    kept, model, names = run.judged, run.model, run.settings["class_names"]
    outputs = ExpertOutputs(*(said.to(model.mean.device) for said in judged_outputs(run, data)))
    labels = kept["labels"]
    with torch.no_grad(), model.unadapted():
        # Of others than DQRoute the calibrated mean is what is known best.
        own = isinstance(model, DQRoute)
        log_p = model.fuse(outputs).log_probability if own else model.calibration(mean_logits(outputs))
    p = log_p.exp().cpu()
    of_label = p[torch.arange(len(labels)), labels]
    # Classes of which nobody judged a picture have no bar to reach.
    counts = labels.bincount(minlength=len(names))
    bar = torch.zeros(len(names), dtype=p.dtype).index_add_(0, labels, of_label) / counts
    bar[counts == 0] = torch.inf
    over = p.masked_fill(p < bar, 0)
    best, says = over.max(dim=1)
    doubtful = ((best > 0) & (says != labels)).nonzero().flatten()
    order = doubtful[(best - of_label)[doubtful].argsort(descending=True)][:most]
    split = None if data is None else data.train
    return beside_labels(split, kept["images"][order], labels[order], says[order], p[order], names)


def beside_labels(
    split: AnySplit | None, images: Tensor, labels: Tensor, says: Tensor, p: Tensor, names: Sequence[str]
) -> pd.DataFrame:
    """Pictures of a split, by their numbers ``[N]``, their labels, what they are said to be and how probable both are.

    Labels and answers are int64 ``[N]``, p is ``[N, C]``. The first column is ``file``, or ``image`` where no files are
    known: a run keeps no names of files, and a line says so where its pictures are not at hand.
    """
    if split is None:
        print(
            "pictures are told by their numbers: dq.Run(FOLDER, data), or data= here, with their set, tells the files"
        )
    places, files = images.tolist(), None if split is None else split.names
    table: dict[str, list[Any]] = {"image": places} if files is None else {"file": [files[image] for image in places]}
    table |= {of: [names[c] for c in column.tolist()] for of, column in (("label", labels), ("says", says))}
    for of, column in (("probability of label", labels), ("probability", says)):
        table[of] = p.gather(1, column[:, None]).squeeze(1).tolist()
    return pd.DataFrame(table)
