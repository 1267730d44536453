"""Is this picture of any known class? Scores of strangeness, and what they come to beside the set's own images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dqroute.core.judging import balanced_weights, kept_from

RIDGE = 0.6  # of 0.1, 0.3, 0.6 and 0.9 best on small folders: benchmarks/small_folder.py
CHUNK = 1024  # images whose distances are in memory at a time
COMPARED = 20_000  # images that are compared with one another, in seconds


def class_gaussians(features: Tensor, labels: Tensor, num_classes: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Every class a Gaussian of its own mean, all of one covariance: means ``[C, D]``, covariance ``[D, D]``.

    Of features ``[N, D]`` in float64. The covariance is pooled within the classes and drawn towards its mean variance
    by the ridge, 0 to 1: ``(1 - r) Σ + r tr(Σ) / D``.
    """
    counts = labels.bincount(minlength=num_classes).double().clamp_min(1)
    means = features.new_zeros(num_classes, features.shape[1]).index_add_(0, labels, features) / counts[:, None]
    apart = features - means[labels]
    covariance = apart.T @ apart / max(1, len(features) - num_classes)
    within = ridge * covariance.diagonal().mean() + 1e-6  # which vanishes where no class has two images
    eye = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    return means, (1 - ridge) * covariance + within * eye


class Typical(NamedTuple):
    """What images of the known classes look like.

    Attributes:
        means: ``[C, D]``, of the classes that have images; root: ``[D, D]``, ``L⁻ᵀ`` of the pooled covariance ``L Lᵀ``.
    """

    means: Tensor
    root: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int, ridge: float = RIDGE) -> Typical:
        """Of training features ``[N, D]`` and labels ``[N]``."""
        means, covariance = class_gaussians(F.normalize(features.double(), dim=1), labels, num_classes, ridge)
        eye = torch.eye(len(covariance), dtype=covariance.dtype)
        root = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), eye, upper=False).T
        return cls(means[labels.unique()].float(), root.float())

    def distance(self, features: Tensor) -> Tensor:
        """How strange images are, ``[N]``: ``min_c (x̂ - μ_c)ᵀ Σ⁻¹ (x̂ - μ_c)``, x̂ the features at length 1.

        One covariance for all classes, because a handful of images gives none, and lengths left out: Mahalanobis
        distance as it suits a long tail (arXiv 2605.17799).
        """
        width = len(self.root)  # of as many of the first features as it was made of
        turned, rows = self.means @ self.root, F.normalize(features[:, :width].float(), dim=1).split(CHUNK)
        return torch.cat([torch.cdist(x @ self.root, turned).amin(dim=1).square() for x in rows])


def seen_by_other_folds(
    features: Callable[[Tensor], Tensor], labels: Tensor, num_classes: int, fold: Tensor, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """How strange training images are to what the other folds' images look like, and how alike to one of these.

    Both ``[N]``, NaN where no fold judges: the distance, and the largest cosine, -1 to 1, which is NaN, too, where more
    than ``COMPARED`` images would take minutes.

    Args:
        features: of all images, ``[N, D]``, in terms of those alone that are marked in bool ``[N]``. Principal axes are
            fitted, too: along those of all images an image lies farther out than a new one does, being among them.
        labels: int64 ``[N]``; fold: int64 ``[N]``, as :func:`dqroute.core.judging.fold_of`.
        width: of how many of the first features the distance is.
    """
    distance, likeness = torch.full((2, len(labels)), torch.nan, device=labels.device)
    for index in fold[fold >= 0].unique().tolist():
        seen, own = kept_from(fold) != index, fold == index
        x = features(seen)
        distance[own] = Typical.of(x[seen, :width], labels[seen], num_classes).distance(x[own])
        if len(labels) <= COMPARED:
            x = F.normalize(x, dim=1)
            likeness[own] = torch.cat([(rows @ x[seen].T).amax(dim=1) for rows in x[own].split(CHUNK)])
    return distance, likeness


def energy(logits: Tensor) -> Tensor:
    """How strange images are by logits ``[N, C]``: ``-log Σ_c exp z_c`` (Liu et al., 2020)."""
    return -logits.logsumexp(dim=1)


def share_as_strange(strange: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """The share of own images, each class counting alike, that are at least as strange: near 0 of an outsider, ``[M]``.

    A p-value by images whose strangeness was judged out of fold, the new image counted among them:
    ``(n Σ_i w_i [s_i ≥ s] + 1) / (n + 1)``, ``w_i = 1 / (n_{y_i} C')``. Of images that are stranger than all, the 1
    becomes ``1 / (1 + (s - max_i s_i) / (max_i s_i - min_i s_i))``: a rank among them, and no share any more.

    Args:
        strange: ``[M]``, of new images; own: ``[N]``, of the set's own; labels: of these, int64 ``[N]``.
    """
    value, order = own.sort(descending=True)
    weights = balanced_weights(labels, int(labels.max()) + 1)[order]
    reached = torch.cat([weights.new_zeros(1), weights.cumsum(dim=0)])
    share = reached[torch.searchsorted(-value, -strange, right=True)]
    beyond = (strange - value[0]).clamp_min(0) / (value[0] - value[-1]).clamp_min(1e-9)
    return (len(own) * share + 1 / (1 + beyond)) / (len(own) + 1)
