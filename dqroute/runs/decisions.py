"""How sure a run's answers must be, chosen on its predictions out of fold: thresholds, and sets of classes."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from dqroute.core.checks import checked_range, choose
from dqroute.core.judging import balanced_weights
from dqroute.data.files.reading import listed
from dqroute.data.options import names_checked
from dqroute.measures.curves import coverage_curve
from dqroute.measures.decisions import precision_cuts, set_cuts
from dqroute.runs.judged import out_of_fold
from dqroute.runs.run import Run, RunOrFolder, opened


@names_checked
def thresholds(
    run: RunOrFolder,
    *,
    precision: float | None = None,
    answered: float | None = None,
    prevalence: Literal["balanced", "training"] = "balanced",
) -> dict[str, float]:
    """A threshold for each class, to be given to :func:`dqroute.classify` as ``answer_at``.

    Chosen on training pictures by those who never saw them (:func:`dqroute.measures.decisions.precision_cuts`). Of 549
    training pictures of 12 classes (``benchmarks/small_folder.py``, four draws) ``precision=0.9`` had 90 % of the
    answers to new pictures right (83 to 99 %, by the draw), 58 % answered; ``0.95`` 93 and 48 %. A class that cannot be
    right so often, and one of which no picture was judged, is named in a warning and has a threshold of 1: it is not
    answered. Near copies that were not kept together (``group_by=``) break the promise, and a warning counts them.

    Args:
        run: a finished run on features, or its folder, judged out of fold.
        precision: how often answers shall be right, class by class, 0 to 1.
        answered: or which share of the pictures shall be answered, 0 to 1, by one threshold for all classes.
        prevalence: how common the classes are where answers will be given: all alike, or as in training.

    ValueError for a run without predictions out of fold, and unless one of the two is given.
    """
    run = opened(run)
    choose("prevalence", prevalence, ("balanced", "training"))
    if (precision is None) == (answered is None):
        raise ValueError("say how often answers shall be right, precision=0.9, or how many to give, answered=0.8")
    (said, labels), names = out_of_fold(run, run.data), run.settings["class_names"]
    probability, label = said.probability.double(), said.label
    weights = balanced_weights(labels, len(names)) if prevalence == "balanced" else torch.ones_like(probability)
    if precision is None:
        curve = coverage_curve(probability, label == labels, weights)
        enough = (curve.coverage >= checked_range("answered", answered, 0, 1) - 1e-9).nonzero()
        return dict.fromkeys(names, curve.threshold[enough[0, 0]].item())
    cuts = precision_cuts(probability, label, labels, len(names), precision, weights)
    if unknown := unjudged(labels, names):
        told = f"no picture of class {listed(unknown)} was judged out of fold, and how often its answers are right is"
        warnings.warn(f"{told} not known: its threshold is 1, and it is not answered", stacklevel=3)
    cuts[[names.index(name) for name in unknown]] = 1
    if never := [name for name, cut in zip(names, cuts.tolist(), strict=True) if cut > 1]:
        told = f"answers of class {listed(never)} are not right so often ({precision:.0%}), however sure"
        warnings.warn(f"{told}: their threshold is 1, and they are not answered", stacklevel=3)
    return dict(zip(names, cuts.clamp_max(1).tolist(), strict=True))


def unjudged(labels: Tensor, names: list[str]) -> list[str]:
    """The classes of which no image was judged, int64 ``[N]``."""
    counts = labels.bincount(minlength=len(names)).tolist()
    return [name for name, count in zip(names, counts, strict=True) if not count]


def cuts_for_sets(run: Run, coverage: float) -> Tensor:
    """:func:`dqroute.measures.decisions.set_cuts` of a run; a warning names classes of which no picture was judged."""
    (said, labels), names = out_of_fold(run, run.data), run.settings["class_names"]
    if unknown := unjudged(labels, names):
        told = f"no picture of class {listed(unknown)} was judged out of fold"
        warnings.warn(f"{told}: sets promise nothing of it, and hold it nearly always", stacklevel=4)
    p = said.probabilities.gather(1, labels[:, None]).squeeze(1)
    return set_cuts(p, labels, len(names), coverage)
