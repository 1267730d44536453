"""Experts on features that are given: K classifiers, and beside them the same K for each fold, which never saw it.

All are one product of matrices. What the folds' own heads say of their images is out of fold: nobody who speaks was
trained on the image (:mod:`dqroute.core.judging`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import checked_range, checked_whole, choose
from dqroute.core.judging import kept_from
from dqroute.core.outputs import ExpertOutputs
from dqroute.measures.outsiders import class_gaussians
from dqroute.models.experts import COSINE_SCALE


class Heads(nn.Module):
    """``F + 1`` sets of ``K`` classifiers; the last set sees all images and predicts.

    Args:
        features: ``D``; num_classes: ``C``; experts: ``K``, those that are trained; folds: ``F``, 0 for none.
        classifier: ``"linear"``, or ``"cosine"``; scale: of the cosine.
        gaussian: the ridge of a further expert that is a Gaussian for each class, see :meth:`meet`; None for none.
    """

    def __init__(
        self,
        features: int,
        num_classes: int,
        experts: int = 1,
        folds: int = 0,
        classifier: str = "cosine",
        gaussian: float | None = None,
        scale: float = COSINE_SCALE,
    ) -> None:
        super().__init__()
        self.scale = checked_range("cosine_scale", scale, 1, 100)
        self.trained = checked_whole("experts", experts, 0 if gaussian is not None else 1)
        self.features, self.num_classes, self.folds = features, num_classes, folds
        self.classifier, self.gaussian = choose("classifier", classifier, ("linear", "cosine")), gaussian is not None
        self.ridge = 0.0 if gaussian is None else checked_range("ridge", gaussian, 0, 1)
        # As long as a class vector is at the end of training, so that the rate is a share of it.
        self.weight = nn.Parameter(torch.randn(folds + 1, experts * num_classes, features) / features**0.5)
        self.bias = nn.Parameter(torch.zeros(folds + 1, experts, num_classes)) if classifier == "linear" else None
        self.unknown = nn.Buffer(torch.zeros(folds + 1, num_classes, dtype=torch.bool), persistent=False)
        if self.gaussian:
            self.gaussian_weight = nn.Buffer(torch.zeros(folds + 1, num_classes, features))
            self.gaussian_bias = nn.Buffer(torch.zeros(folds + 1, num_classes))

    @property
    def experts(self) -> int:
        """``K``, the Gaussian one among them."""
        return self.trained + self.gaussian

    def forward(self, features: Tensor) -> ExpertOutputs:
        """What the last set says of features ``[B, D]``."""
        return ExpertOutputs(self.of_sets(features, slice(-1, None))[:, 0].movedim(1, 0), self.read(features))

    def of_sets(self, features: Tensor, sets: slice = slice(None)) -> Tensor:
        """The logits of all sets, or some, ``[B, sets, K, C]``."""
        weight = self.weight.view(self.folds + 1, self.trained, self.num_classes, self.features)[sets]
        if self.classifier == "cosine":
            logits = self.scale * product(F.normalize(features, dim=1), F.normalize(weight, dim=3))
        else:
            assert self.bias is not None
            logits = product(features, weight) + self.bias[sets]
        if self.gaussian:
            further = product(F.normalize(features, dim=1), self.gaussian_weight[sets]) + self.gaussian_bias[sets]
            logits = torch.cat([logits, further[:, :, None]], dim=2)
        return logits

    def read(self, features: Tensor) -> Tensor:
        """What each expert's classifier reads, ``[K, B, D]``."""
        return features.expand(self.experts, *features.shape)

    def rows(self, logits: Tensor, features: Tensor, labels: Tensor, fold: Tensor) -> tuple[ExpertOutputs, Tensor]:
        """A batch for the loss: each image once for every set that may see it, all sets being trained as one.

        ``logits`` are of all sets, ``[B, F + 1, K, C]``, ``fold`` as of :func:`dqroute.core.judging.fold_of`, ``[B]``.
        """
        sets = torch.arange(self.folds + 1, device=fold.device)
        image, which = (kept_from(fold)[:, None] != sets).nonzero(as_tuple=True)
        return ExpertOutputs(logits[image, which].movedim(1, 0), self.read(features[image])), labels[image]

    def out_of_fold(self, logits: Tensor, fold: Tensor) -> Tensor:
        """What those say who never saw an image, ``[K, B, C]``, of all sets' logits; the last set where all have.

        Classes that a set does not know, of which its word is noise, are as improbable as the last of the others.
        """
        own = fold.where(fold >= 0, self.folds)
        said = logits[torch.arange(len(fold), device=fold.device), own]
        unknown = self.unknown.to(fold.device)[own, None]
        return said.where(~unknown, said.amin(dim=2, keepdim=True)).movedim(1, 0)

    @torch.no_grad()
    def meet(self, features: Tensor, labels: Tensor, fold: Tensor) -> None:
        """Shown all training features ``[N, D]`` before a training: each set's Gaussian expert is made of them.

        Every class is a Gaussian of its own mean ``μ_c``, all of one covariance ``Σ``, pooled within the classes and
        drawn towards its mean variance by the ridge: ``z_c(x) = μ_c Σ⁻¹ x̂ - ½ μ_c Σ⁻¹ μ_c``, x̂ of length 1 (linear
        discriminant analysis; at a ridge of 1 the nearest mean), times a number that gives these logits the spread of
        a cosine expert's.
        """
        for index in range(self.folds + 1):
            seen = kept_from(fold) != index
            self.unknown[index] = labels[seen].bincount(minlength=self.num_classes) == 0
            if not self.gaussian:
                continue
            x, y = F.normalize(features[seen].double(), dim=1), labels[seen]
            means, covariance = class_gaussians(x, y, self.num_classes, self.ridge)
            weight = torch.linalg.solve(covariance, means.T).T
            bias = -0.5 * (weight * means).sum(dim=1)
            spread = (x @ weight.T + bias).std(dim=1).mean().clamp_min(1e-6) / (SPREAD * self.scale)
            self.gaussian_weight[index] = weight / spread
            self.gaussian_bias[index] = bias / spread


SPREAD = 3.5 / 30  # deviation of a trained cosine expert's logits over the classes, at a scale of 1


def product(features: Tensor, weight: Tensor) -> Tensor:
    """``[B, …, C]`` of features ``[B, D]`` and weights ``[…, C, D]``, as one product of matrices."""
    return (features @ weight.flatten(0, -2).T).unflatten(1, weight.shape[:-1])
