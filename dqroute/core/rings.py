"""Routing by rings of classes: which ring an image is of, and which class of the ring, each said by all the experts.

The nested class sets ``S_1 ⊃ S_2 ⊃ …`` cut the classes into rings ``R_k = S_k`` without ``S_{k+1}``: many, medium, few.
What every expert's word counts for a ring is fitted, best on predictions for images that the experts were not trained
on (:mod:`dqroute.core.judging`). The probabilities of the rings are then the experts' detectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from dqroute.core.checks import without_autocast
from dqroute.core.judging import balanced_weights, first_of_each, minimised
from dqroute.core.routing import BARRED, Fusion

# How strongly what counts for a ring is tied to the plain mean, and a class's own shift to its ring's: the more, the
# fewer images there are to fit it to. What it brings, fitted on four folds and asked of the fifth, is measured by
# benchmarks/small_folder.py.
SHRINK, SHRINK_FROM = 1e-3, 3500
ENOUGH = 100  # images of a class that are looked at: more say little, and cost time


def ring_of(members: Tensor) -> Tensor:
    """The ring of each class, int64 ``[C]``, of nested sets ``S_k``, bool ``[K, C]``: how many of the sets hold it."""
    return members.sum(dim=0) - 1


class RingFusion(nn.Module):
    """The experts weighed anew for each ring of classes.

    ``p(R_j | x) = softmax_j(log Σ_{c∈R_j} exp(Σ_k a_jk z_kc(x) + h_c) + b_j)``, and within a ring
    ``p(c | x, R_j) = softmax_{c∈R_j}(Σ_k a'_jk z_kc(x) + b'_c + h_c)``. Unfitted, ``a = a' = 1/K`` and all else is 0:
    the plain mean of the logits, to which fitting shrinks them. ``h`` stays 0 but for classes that nobody judged.

    Args:
        members: bool ``[J, C]``, nested sets from all classes down.
        experts: ``K``, ``J`` or more: those beyond have all classes.
    """

    def __init__(self, members: Tensor, experts: int) -> None:
        super().__init__()
        self.experts, number = experts, len(members)
        self.rings = nn.Buffer(ring_of(members))
        self.sizes = self.rings.bincount(minlength=number).tolist()
        # Sorted once: exported programs know no sorting.
        self.order = nn.Buffer(self.rings.argsort(stable=True), persistent=False)
        self.between = nn.Buffer(torch.full((number, experts), 1 / experts))
        self.bias = nn.Buffer(torch.zeros(number))
        self.within = nn.Buffer(torch.full((number, experts), 1 / experts))
        self.shifts = nn.Buffer(torch.zeros(members.shape[1]))
        self.held = nn.Buffer(torch.zeros(members.shape[1]))

    def _by_ring(self, values: Tensor) -> Tensor:
        """``log Σ_{c∈R_j} exp v_c`` of values ``[B, C]``, ``[B, J]``."""
        rings = values[:, self.order].split(self.sizes, dim=1)
        none = torch.full_like(values[:, 0], BARRED)
        return torch.stack([ring.logsumexp(dim=1) if ring.shape[1] else none for ring in rings], dim=1)

    @without_autocast
    def log_rings(self, logits: Tensor) -> Tensor:
        """Log-probabilities of the rings, ``[B, J]``, of the experts' logits ``[K, B, C]``."""
        among = torch.einsum("kbc,ck->bc", logits.float(), self.between[self.rings]) + self.held
        return (self._by_ring(among) + self.bias).log_softmax(dim=1)

    @without_autocast
    def forward(self, logits: Tensor) -> Fusion:
        """One prediction from the experts' logits ``[K, B, C]``."""
        ring = self.log_rings(logits)
        inside = torch.einsum("kbc,ck->bc", logits.float(), self.within[self.rings]) + self.shifts + self.held
        inside = inside - self._by_ring(inside)[:, self.rings]
        counts = self.within.abs()
        say = ring.exp() @ (counts / counts.sum(dim=1, keepdim=True))
        return Fusion((ring[:, self.rings] + inside).log_softmax(dim=1), say / say.sum(dim=1, keepdim=True))

    def log_odds(self, logits: Tensor) -> Tensor:
        """The detectors, ``[K, B]``: log-odds that an image is of ``S_k``; ``+inf`` for experts of all classes."""
        ring = self.log_rings(logits)
        rows = [torch.full_like(ring[:, 0], torch.inf)] * self.experts
        for k in range(1, ring.shape[1]):
            rows[k] = ring[:, k:].logsumexp(dim=1) - ring[:, :k].logsumexp(dim=1)
        return torch.stack(rows)

    @torch.no_grad()
    def fit(self, logits: Tensor, labels: Tensor) -> None:
        """Fit ``a``, ``b``, ``v`` and ``d`` by class-balanced NLL, from logits ``[K, N, C]`` and labels ``[N]``.

        ``log p(y | x) = log p(R_y | x) + log p(y | x, R_y)``: the first term has ``a`` and ``b`` alone, the second,
        ring by ring, ``v`` and ``d``. Of no class more than its first ``ENOUGH`` images are taken. All four are drawn
        to where they were unfitted, by ``SHRINK``, times ``SHRINK_FROM / N`` where that is more.
        """
        self.shifts.zero_(), self.held.zero_()  # of classes that were not judged, whatever was fitted before
        few = first_of_each(labels, ENOUGH)
        z, labels, mean = logits.float()[:, few], labels[few], 1 / self.experts
        weights, ring = balanced_weights(labels, logits.shape[2]), self.rings[labels]
        shrink = SHRINK * max(1.0, SHRINK_FROM / len(labels))
        # Only classes that were judged: the others would be fitted away.
        there = torch.zeros_like(self.rings, dtype=torch.bool).index_fill_(0, labels, True)
        classes = [((self.rings == j) & there).nonzero().flatten() for j in range(len(self.bias))]
        by_ring = [z[:, :, members] for members in classes]

        def of_rings(at: Tensor) -> Tensor:
            a, b = at[: self.between.numel()].view_as(self.between), at[self.between.numel() :]
            sums = [torch.einsum("k,knc->nc", one.to(z.dtype), part) for one, part in zip(a, by_ring, strict=True)]
            scores = [part.logsumexp(dim=1) if part.shape[1] else BARRED + 0 * ring for part in sums]
            nll = nll_loss((torch.stack(scores, dim=1) + b).log_softmax(dim=1), ring, reduction="none")
            return weights @ nll + shrink * ((a - mean).square().sum() + b.square().sum())

        found = minimised(of_rings, torch.cat([torch.full_like(self.between, mean).flatten(), 0 * self.bias]))
        self.between.copy_(found[: self.between.numel()].view_as(self.between))
        self.bias.copy_(found[self.between.numel() :])
        judged = [j for j, members in enumerate(classes) if len(members)]
        place = torch.empty_like(self.rings)  # of each class within its ring
        for j in judged:
            members, inside = classes[j], ring == j
            place[members] = torch.arange(len(members), device=members.device)
            part, own, weight = by_ring[j][:, inside], place[labels[inside]], weights[inside]

            def of_classes(at: Tensor, part: Tensor = part, own: Tensor = own, weight: Tensor = weight) -> Tensor:
                v, d = at[: self.experts], at[self.experts :]
                log_p = (torch.einsum("k,knc->nc", v.to(z.dtype), part) + d).log_softmax(dim=1)
                nll = nll_loss(log_p, own, reduction="none")
                return weight @ nll + shrink * (v - mean).square().sum() + shrink * d.square().sum()

            start = torch.cat([torch.full_like(self.within[j], mean), torch.zeros_like(self.shifts[members])])
            found = minimised(of_classes, start)
            self.within[j].copy_(found[: self.experts])
            self.shifts[members] = found[self.experts :].to(self.shifts.dtype)
        # In a ring of which nothing was judged all experts count alike, as much as they do elsewhere on average.
        idle = [j for j, members in enumerate(classes) if not len(members)]
        for values in (self.between, self.within, self.bias):
            values[idle] = values[judged].mean()
        self._hold_back(z, labels, weights, there)

    def _hold_back(self, z: Tensor, labels: Tensor, weights: Tensor, judged: Tensor) -> None:
        """Find ``h``: an unjudged class takes as much of others' images as the judged of its ring do on average."""
        others = (labels[:, None] != torch.arange(len(judged), device=labels.device)).to(weights.dtype)
        for _ in range(0 if judged.all() else 10):
            wrong = weights @ (self(z).log_probability.exp() * others) / (weights @ others)
            for c in (~judged).nonzero().flatten().tolist():
                alike = judged & (self.rings == self.rings[c])
                self.held[c] += (wrong[alike if alike.any() else judged].mean() / wrong[c].clamp_min(1e-9)).log()
