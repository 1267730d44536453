"""What a model says of images: of new ones, and of training images, by which it is fitted and judged."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from dqroute.data.markup import box, number_of, percent, table

FIRST = 5  # answers that a notebook shows


class Judged(NamedTuple):
    """What the experts say of training images: out of fold, or where there are no folds having learned them.

    Attributes:
        logits: ``[K, N, C]``; labels: int64 ``[N]``.
    """

    logits: Tensor
    labels: Tensor


class Prediction(NamedTuple):
    """What a model says of images.

    Attributes:
        label: int64 ``[N]``.
        probability: ``[N]``, of that label, 0 to 1.
        expert_weights: ``[N, K]``, each expert's share in the prediction, rows summing to 1.
        confidence: ``[N, K]``, each expert's detector's probability that the image belongs to its classes.
        probabilities: ``[N, C]``, of all classes.
        expert_labels: int64 ``[N, K]``, what each expert would have said alone.
        mean_label: int64 ``[N]``, what the plain mean of the experts' logits would have said.
        calibrated_label: int64 ``[N]``, the same after the method's calibration (:mod:`dqroute.measures.calibration`).
    """

    label: Tensor
    probability: Tensor
    expert_weights: Tensor
    confidence: Tensor
    probabilities: Tensor
    expert_labels: Tensor
    mean_label: Tensor
    calibrated_label: Tensor

    def __repr__(self) -> str:
        return f"<Prediction: {len(self.label):,} images, {number_of(self.probabilities.shape[1])}>"

    def _repr_html_(self) -> str:
        """For notebooks: the first answers."""
        answers = zip(self.label.tolist(), self.probability.tolist(), strict=True)
        rows = [(n, label, percent(p)) for n, (label, p) in enumerate(answers) if n < FIRST]
        return box(f"{len(self.label):,} predictions", table(rows, ("image", "class", "probability")))
