"""Pictures of no known class: scores by name, beside what the run's own training pictures score out of fold."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dqroute.core.checks import choose
from dqroute.core.outputs import ExpertOutputs, mean_logits
from dqroute.data.disk import write_tensors
from dqroute.measures.outsiders import Typical, distances_out_of_fold, energy, share_as_strange
from dqroute.runs.judged import fused
from dqroute.runs.run import TYPICAL, Run

LEAST = 12  # axes that are looked along
# Training images for each, or groups of them: of 549 pictures 34 axes, of 4,096 or more all 256. Along 25 axes of 400
# frames of 31 bursts none of 540 strangers had a share below .05, along 12 some 6 in 100, 3 of one's own (three draws).
IMAGES_AN_AXIS = 16
OUTSIDERS = ("mahalanobis", "energy")


def keep_typical(run: Run, features: Tensor, labels: Tensor, fold: Tensor, alone: int) -> None:
    """Leave in the run folder what training features look like, for runs that are opened without them.

    Args:
        features: ``[N, D]``; labels: int64 ``[N]``; fold: int64 ``[N]``, that of each image, -1 for none.
        alone: how many images there are, or groups of such as belong together.
    """
    known, number = fold >= 0, len(run.settings["class_names"])
    # Axes are those of all training images: along many of them whatever was not among these looks near, strangers too.
    features = features[:, : max(LEAST, alone // IMAGES_AN_AXIS)]
    typical = Typical.of(features, labels, number)._asdict()
    distance = distances_out_of_fold(features, labels, number, fold)
    kept = {"distance": distance[known], "labels": labels[known]}
    write_tensors(run.folder / TYPICAL, typical | kept, {"digest": run.settings["digest"]})


def strangeness(run: Run, kind: str) -> Callable[[ExpertOutputs], Tensor]:
    """A function from what the experts say of pictures to the share of own pictures that are as strange, ``[B]``.

    See :func:`~dqroute.measures.outsiders.share_as_strange`; ``kind`` is one of :data:`OUTSIDERS`. ValueError for
    another one, and if the run has nothing out of fold to compare with.
    """
    choose("outsider score", kind, OUTSIDERS)
    if kind == "energy":
        said = fused(run)
        own = energy(mean_logits(said.outputs))
        return lambda outputs: share_as_strange(energy(mean_logits(outputs)).cpu(), own, said.labels)
    path = run.folder / TYPICAL
    if not path.is_file():
        remedy = "train it with this version, on features with folds of 2 or more, in another runs_dir"
        raise ValueError(f"{run!r} does not say what its training pictures look like; {remedy}")
    kept = run.own_tensors(path, "means", "root", "distance", "labels")
    typical = Typical(kept["means"], kept["root"])
    return lambda outputs: share_as_strange(
        typical.distance(outputs.features[0].cpu()), kept["distance"], kept["labels"]
    )
