"""Each expert's own out-of-distribution detector: does this image belong to my classes?

Expert k is responsible for the class set ``S_k``. Its detector gives a log-odds ``s_k(x)``: positive when it takes the
image for one of its own, negative for an outsider; ``sigmoid(s_k)`` is its confidence. Expert 1 has all classes, hence
no outsiders: its log-odds is ``+inf``. The texts we had say neither architecture nor loss; each choice is ours.

Detectors read what experts say of a batch, :class:`~dqroute.core.outputs.ExpertOutputs` of any floating type; what a
kind does not read may be left out. A new kind is a subclass with ``log_odds``, and a line in :data:`DETECTORS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import choose, widened, without_autocast
from dqroute.core.outputs import UNKNOWN, ExpertOutputs, mean_logits


class Detector(nn.Module):
    """Base of the detectors: log-odds of membership for one expert.

    Args:
        expert: index k, 0 for the first; members: bool ``[C]``, true for the classes of ``S_k``.
        features: ``D``, the expert's feature width, where the kind reads them.
    """

    def __init__(self, expert: int, members: Tensor, features: int = 0) -> None:
        super().__init__()
        self.expert = expert
        self.members = nn.Buffer(members)

    @without_autocast
    def forward(self, logits: Tensor, features: Tensor = UNKNOWN) -> Tensor:
        """Log-odds ``[B]``, float32."""
        return self.log_odds(ExpertOutputs(logits, features))

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        """Log-odds ``[B]``: what a kind has to say."""
        raise NotImplementedError

    def learns(self, outputs: ExpertOutputs, own: Tensor) -> Tensor:
        """The log-odds ``[B]`` that the loss trains, where they are others; ``own``: the expert's logits ``[B, C]``."""
        return self.log_odds(outputs)


def energy_difference(logits: Tensor, members: Tensor) -> Tensor:
    """``log Σ_{c∈S} exp z_c - log Σ_{c∉S} exp z_c`` of logits ``[B, C]``, ``[B]``: the log-odds of S in the softmax.

    ``members``, bool ``[C]``, are the classes of S; some, and not all.
    """
    logits = widened(logits)
    inside = logits.masked_fill(~members, -torch.inf).logsumexp(dim=1)
    return inside - logits.masked_fill(members, -torch.inf).logsumexp(dim=1)


class EnergyDetector(Detector):
    """Free energy of the expert's own classes against the rest, :func:`energy_difference` of its own logits.

    Liu et al.'s energy score (2020), set against the others'. Without parameters: training it trains the expert itself.
    """

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        return energy_difference(outputs.logits[self.expert], self.members)

    def learns(self, outputs: ExpertOutputs, own: Tensor) -> Tensor:
        return energy_difference(own, self.members)


class ConsensusDetector(EnergyDetector):
    """Each expert learns to tell its own images as with ``energy``; whose an image is, they then judge together.

    The energies of ``z̄``, the mean over the experts: every expert alone is a noisier judge. The sets being
    nested and the judge being one, ``σ(s_k)`` never grows with k.
    """

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        return energy_difference(mean_logits(outputs), self.members)


class MaxSoftmaxDetector(Detector):
    """The expert's largest probability among its own classes, as calibrated log-odds.

    ``s_k(x) = a · logit(max_{c∈S_k} softmax(z_k)_c) + b``: the classical baseline (Hendrycks and Gimpel, 2017).
    """

    def __init__(self, expert: int, members: Tensor, features: int = 0) -> None:
        super().__init__(expert, members)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        log_p = widened(outputs.logits[self.expert]).log_softmax(dim=1)
        best = log_p.masked_fill(~self.members, -torch.inf).amax(dim=1).clamp(max=-1e-6)
        return self.log_scale.exp() * (best - torch.log(-torch.expm1(best))) + self.bias


class LinearDetector(Detector):
    """A binary classifier on the expert's features, ``s_k(x) = v_k · f_k(x) + b_k``: the plainest reading."""

    def __init__(self, expert: int, members: Tensor, features: int = 0) -> None:
        super().__init__(expert, members)
        if features < 1:
            raise ValueError("linear detectors read features: say how many with features=")
        self.score = nn.Linear(features, 1)

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        if outputs.features.ndim != 3:
            raise ValueError("linear detectors read what the experts' classifiers read: pass features=")
        return widened(self.score(outputs.features[self.expert].to(self.score.weight.dtype)).squeeze(1))


DETECTORS: dict[str, type[Detector]] = {
    "energy": EnergyDetector,
    "consensus": ConsensusDetector,
    "max-softmax": MaxSoftmaxDetector,
    "linear": LinearDetector,
}


class DetectorBank(nn.Module):
    """The detectors of all experts.

    Args:
        kind: a name from :data:`DETECTORS`; num_classes: ``C``; features: ``D``, where the kind reads them.
        class_sets: ``S_1, …, S_K``, class indices; a set of all classes gets no detector.
    """

    def __init__(self, kind: str, class_sets: Sequence[Sequence[int]], num_classes: int, features: int = 0) -> None:
        super().__init__()
        make = DETECTORS[choose("detector", kind, DETECTORS)]
        members = torch.zeros(len(class_sets), num_classes, dtype=torch.bool)
        for k, classes in enumerate(class_sets):
            members[k, list(classes)] = True
        self.members = nn.Buffer(members)
        each = {str(k): make(k, own.clone(), features) for k, own in enumerate(members) if not own.all()}
        self.detectors = nn.ModuleDict(each)

    def each(self) -> dict[int, Detector]:
        """The detectors by the index of their expert."""
        return {int(k): detector for k, detector in self.detectors.items() if isinstance(detector, Detector)}

    @without_autocast
    def forward(self, logits: Tensor, features: Tensor = UNKNOWN) -> Tensor:
        """Log-odds ``[K, B]``; ``+inf`` for an expert that has all classes."""
        outputs = ExpertOutputs(logits, features)
        return self._rows({k: d.log_odds(outputs) for k, d in self.each().items()}, logits)

    def learns(self, outputs: ExpertOutputs, each: Sequence[Tensor]) -> Tensor:
        """The log-odds ``[K, B]`` that :meth:`loss` trains; ``each`` are the logits taken apart, ``[B, C]`` each.

        Once for all who learn from them: every further time costs the backward pass a tensor of its size.
        """
        return self._rows({k: d.learns(outputs, each[k]) for k, d in self.each().items()}, outputs.logits)

    def _rows(self, log_odds: dict[int, Tensor], logits: Tensor) -> Tensor:
        everything = torch.full(logits.shape[1:2], torch.inf, device=logits.device)
        return torch.stack([log_odds.get(k, everything) for k in range(len(self.members))])

    def loss(self, log_odds: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
        """``Σ_k mean_b u_y BCE(σ(s_k), [y ∈ S_k])``, "mine" against "not mine", of log-odds ``[K, B]``.

        With ``class_weights`` ``u_c ∝ 1 / n_c``, ``[C]``, every class counts the same: a detector for rare classes sees
        almost no image of its own otherwise, and the prior of "mine" is then the share of classes in ``S_k``.
        """
        weights, mine = class_weights[labels], self.members[:, labels].float()
        losses = [F.binary_cross_entropy_with_logits(log_odds[k], mine[k], weight=weights) for k in self.each()]
        return torch.stack(losses).sum() if losses else log_odds.new_zeros(())
