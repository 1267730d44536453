"""From a batch to its loss: forward through network or heads, mixed in pairs where a method asks for it.

Where heads read features, the sets that leave out a fold learn beside the last, in one product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dqroute.core.judging import kept_from
from dqroute.core.outputs import ExpertOutputs
from dqroute.methods.base import Method
from dqroute.models.device import precision_context
from dqroute.models.heads import Heads
from dqroute.training.distribution import Processes, over_all_processes, whole

Said = tuple[ExpertOutputs, Tensor, Tensor]


class Forward:
    """How one model's batches come to their losses, at a precision, on one device or several processes'."""

    def __init__(self, model: Method, precision: str, device: torch.device, processes: Processes) -> None:
        self.model, self.precision, self.device, self.processes = model, precision, device, processes
        self.network = over_all_processes(model.network, device) if processes.count > 1 else model.network

    def of_batch(self, images: Tensor, labels: Tensor, fold: Tensor | None = None, total: int = 0) -> Said:
        """Outputs, labels and loss of a batch; of the whole batch of ``total``, where each process has a share of it.

        The images are uint8 ``[B, channels, H, W]``, or features ``[B, D]``, each then with its fold, ``[B]``.
        """
        if isinstance(self.model.network, Heads):
            assert fold is not None
            return self.by_fold(self.model.network, images, labels, fold, total)
        inputs, partner, share = self.mixed(self.model.normalise(images))
        with precision_context(self.precision, self.device):
            outputs = self.network(inputs)
        theirs = labels if partner is None else labels[partner]
        if self.processes.count > 1:
            outputs = ExpertOutputs(*(whole(said, total, dim=1) for said in outputs))
            labels, theirs = whole(labels, total), whole(theirs, total)
        loss = self.model.loss(outputs, labels)
        if partner is not None:
            loss = share * loss + (1 - share) * self.model.loss(outputs, theirs)
        return outputs, labels, loss

    def mixed(self, inputs: Tensor, fold: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Inputs mixed in pairs, each one's partner, and its own share; as they are, and None, without mixup.

        With folds partners are of one fold: who may not see the one may not see the other.
        """
        if not self.model.mixup:
            return inputs, None, inputs.new_ones(())
        share = torch.distributions.Beta(self.model.mixup, self.model.mixup, validate_args=False).sample()
        orders = [torch.randperm(len(inputs), device=inputs.device) for _ in range(2)]
        one, other = orders if fold is None else [order[fold[order].argsort(stable=True)] for order in orders]
        partner = torch.empty_like(one).index_copy_(0, one, other)
        return share * inputs + (1 - share) * inputs[partner], partner, share

    def by_fold(self, heads: Heads, features: Tensor, labels: Tensor, fold: Tensor, total: int) -> Said:
        """The same of heads on features ``[B, D]``, the sets that leave out a fold trained beside the last.

        The outputs are those to judge by: out of fold, or the last set's, as the method has it.
        """
        features, partner, share = self.mixed(features, fold)
        logits = heads.of_sets(features)
        theirs = labels if partner is None else labels[partner]
        if self.processes.count > 1:
            logits, features, labels, fold, theirs = (whole(x, total) for x in (logits, features, labels, fold, theirs))
        loss = self.loss_of_sets(heads, logits, features, labels, fold)
        if partner is not None:
            loss = share * loss + (1 - share) * self.loss_of_sets(heads, logits, features, theirs, fold)
        known = fold >= 0
        if self.model.judge == "out-of-fold" and known.any():
            logits, features, labels, fold = logits[known], features[known], labels[known], fold[known]
        else:
            fold = torch.full_like(fold, -1)
        return ExpertOutputs(heads.out_of_fold(logits.detach(), fold), heads.read(features)), labels, loss

    def loss_of_sets(self, heads: Heads, logits: Tensor, features: Tensor, labels: Tensor, fold: Tensor) -> Tensor:
        """The loss of all sets' logits ``[B, F + 1, K, C]``: of each the mean over those images that it may see."""
        if not self.model.by_batch:
            rows, theirs = heads.rows(logits, features, labels, fold)
            # A mean over all rows, times the rows of an image: each set's part is the mean over the batch's images.
            return self.model.loss(rows, theirs) * (len(theirs) / len(labels))
        total = logits.new_zeros(())
        for index in range(heads.folds + 1):
            seen = kept_from(fold) != index
            if seen.any():
                outputs = ExpertOutputs(logits[seen, index].movedim(1, 0), heads.read(features[seen]))
                total = total + self.model.loss(outputs, labels[seen])
        return total
