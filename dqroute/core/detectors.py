"""Each expert's own out-of-distribution detector: does this image belong to my classes?

Expert k is responsible for the class set ``S_k``. Its detector gives a log-odds ``s_k(x)``: positive when it
takes the image for one of its own, negative when it takes it for an outsider; ``sigmoid(s_k)`` is its
confidence. All detectors share this sign. Expert 1 has all classes, so among the data set's images it has no
outsiders and nothing to learn from: its log-odds is ``+inf``, its confidence 1.

The paper's text fixes neither architecture nor loss; each choice here is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import choose
from dqroute.models.experts import ExpertOutputs


class Detector(nn.Module):
    """Base of the detectors: log-odds of membership for one expert.

    Args:
        expert: index k of the expert, 0 for the first.
        members: bool ``[C]``, true for the classes of ``S_k``.
        features: ``D``, the expert's feature width; shared_features: ``D0``, the trunk's.
    """

    members: Tensor

    def __init__(self, expert: int, members: Tensor, features: int, shared_features: int) -> None:
        super().__init__()
        self.expert = expert
        self.register_buffer("members", members)

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        """Log-odds ``[B]``."""
        raise NotImplementedError

    def learns(self, outputs: ExpertOutputs, own: Tensor) -> Tensor:
        """The log-odds ``[B]`` that the loss trains; those of :meth:`forward` unless a detector says otherwise.

        Args:
            own: the expert's logits ``[B, C]``, the same numbers as in ``outputs``.
        """
        return self(outputs)

    @classmethod
    def of_all(cls, detectors: Sequence[Detector], outputs: ExpertOutputs) -> list[Tensor]:
        """What each of several detectors of this kind says, ``[B]`` each; a kind may share work among them."""
        return [detector(outputs) for detector in detectors]


class EnergyDetector(Detector):
    """Free energy of the expert's own classes against the rest, in its own classifier.

    ``s_k(x) = log Σ_{c∈S_k} exp z_kc - log Σ_{c∉S_k} exp z_kc``, the log-odds of ``S_k`` in the expert's softmax.
    The energy score is Liu et al.'s (2020); setting own classes against the others is our choice. It has no
    parameters, so training it trains the expert itself.
    """

    sides: Tensor

    def __init__(self, expert: int, members: Tensor, features: int, shared_features: int) -> None:
        super().__init__(expert, members, features, shared_features)
        sides = torch.stack([members, ~members], dim=1).float()
        self.register_buffer("sides", sides, persistent=False)

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        return self.energies(outputs.logits[self.expert])

    def learns(self, outputs: ExpertOutputs, own: Tensor) -> Tensor:
        return self.energies(own)

    def energies(self, logits: Tensor) -> Tensor:
        """The difference of the two energies of logits ``[B, C]``, ``[B]``."""
        (difference,) = energy_differences(logits, self.sides)
        return difference


def energy_differences(logits: Tensor, sides: Tensor) -> list[Tensor]:
    """Of logits ``[B, C]``, for each pair of columns of sides ``[C, 2 D]`` (classes inside, outside): D of ``[B]``."""
    # All sums in one product of a softmax: a fifth of the time of two logsumexps over picked columns, which counts with
    # thousands of classes. Log-odds end at ±87, where the smaller sum leaves float32.
    sums = (logits.softmax(dim=1) @ sides).clamp_min(torch.finfo(torch.float32).tiny).log()
    return [inside - outside for inside, outside in sums.T.unflatten(0, (-1, 2))]


class ConsensusDetector(EnergyDetector):
    """Each expert learns to tell its own images as with ``energy``; whose an image is, they then judge together.

    ``s_k(x) = log Σ_{c∈S_k} exp z̄_c - log Σ_{c∉S_k} exp z̄_c``, ``z̄`` the mean over the experts that ran. Our choice:
    every expert alone is a noisier judge. The sets being nested and the judge being one, ``σ(s_k)`` never grows with k.
    """

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        return self.energies(mean_logits(outputs))

    @classmethod
    def of_all(cls, detectors: Sequence[Detector], outputs: ExpertOutputs) -> list[Tensor]:
        sides = [detector.sides for detector in detectors if isinstance(detector, ConsensusDetector)]
        return energy_differences(mean_logits(outputs), torch.cat(sides, dim=1)) if sides else []


def mean_logits(outputs: ExpertOutputs) -> Tensor:
    """The mean over the experts that ran, ``[B, C]``."""
    if outputs.ran is None:
        return outputs.logits.mean(dim=0)
    # The logits of an expert that did not run are zero.
    return outputs.logits.sum(dim=0) / outputs.ran.sum(dim=0)[:, None].clamp_min(1)


class MaxSoftmaxDetector(Detector):
    """The expert's largest probability among its own classes, as calibrated log-odds.

    ``s_k(x) = a · logit(max_{c∈S_k} softmax(z_k)_c) + b``: the classical baseline (Hendrycks and Gimpel, 2017).
    """

    def __init__(self, expert: int, members: Tensor, features: int, shared_features: int) -> None:
        super().__init__(expert, members, features, shared_features)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        log_p = outputs.logits[self.expert].log_softmax(dim=1)
        best = log_p.masked_fill(~self.members, -torch.inf).amax(dim=1).clamp(max=-1e-6)
        return self.log_scale.exp() * (best - torch.log(-torch.expm1(best))) + self.bias


class LinearDetector(Detector):
    """A binary classifier on the expert's features: ``s_k(x) = v_k · f_k(x) + b_k``.

    Our choice, as the plainest reading of "the expert's own detector".
    """

    def __init__(self, expert: int, members: Tensor, features: int, shared_features: int) -> None:
        super().__init__(expert, members, features, shared_features)
        self.score = nn.Linear(features, 1)

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        return self.score(outputs.features[self.expert]).squeeze(1)


class TrunkDetector(Detector):
    """A small binary classifier on the shared trunk's features, so that an expert can be skipped before it runs.

    ``s_k(x) = v_k · relu(W_k g(x) + c_k) + b_k`` with 64 hidden units, ``g`` the pooled trunk. Our choice.
    """

    def __init__(self, expert: int, members: Tensor, features: int, shared_features: int) -> None:
        super().__init__(expert, members, features, shared_features)
        self.score = nn.Sequential(nn.Linear(shared_features, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        return self.before(outputs.shared)

    def before(self, shared: Tensor) -> Tensor:
        """Log-odds ``[B]`` from the pooled trunk ``[B, D0]`` alone, before any expert has run."""
        return self.score(shared).squeeze(1)


DETECTORS: dict[str, type[Detector]] = {
    "energy": EnergyDetector,
    "consensus": ConsensusDetector,
    "max-softmax": MaxSoftmaxDetector,
    "linear": LinearDetector,
    "trunk": TrunkDetector,
}


class DetectorBank(nn.Module):
    """The detectors of all experts.

    Args:
        kind: a name from :data:`DETECTORS`.
        class_sets: ``S_1, …, S_K``, class indices; a set of all classes gets no detector.
        num_classes: ``C``; features, shared_features: widths of the network's outputs.
    """

    members: Tensor

    def __init__(
        self, kind: str, class_sets: Sequence[Sequence[int]], num_classes: int, features: int, shared_features: int
    ) -> None:
        super().__init__()
        make = self.kind = DETECTORS[choose("detector", kind, DETECTORS)]
        members = torch.zeros(len(class_sets), num_classes, dtype=torch.bool)
        for k, classes in enumerate(class_sets):
            members[k, list(classes)] = True
        self.register_buffer("members", members)
        self.detectors = nn.ModuleDict(
            {
                str(k): make(k, members[k].clone(), features, shared_features)
                for k in range(len(members))
                if not members[k].all()
            }
        )

    def forward(self, outputs: ExpertOutputs) -> Tensor:
        """Log-odds ``[K, B]``; ``+inf`` for an expert that has all classes."""
        detectors = [d for d in self.detectors.values() if isinstance(d, Detector)]
        return self._rows(outputs, dict(zip(self.detectors, self.kind.of_all(detectors, outputs), strict=True)))

    def learns(self, outputs: ExpertOutputs, each: Sequence[Tensor]) -> Tensor:
        """The log-odds ``[K, B]`` that :meth:`loss` trains.

        Args:
            each: the experts' logits, ``[B, C]`` each: ``outputs.logits`` taken apart once for all who learn from them,
                because every further time costs the backward pass a tensor of its size.
        """
        found = {k: d.learns(outputs, each[int(k)]) for k, d in self.detectors.items() if isinstance(d, Detector)}
        return self._rows(outputs, found)

    def _rows(self, outputs: ExpertOutputs, log_odds: dict[str, Tensor]) -> Tensor:
        everything = outputs.logits.new_full(outputs.logits.shape[1:2], torch.inf)
        return torch.stack([log_odds.get(str(k), everything) for k in range(len(self.members))])

    def before(self, shared: Tensor) -> Tensor:
        """The same from the pooled trunk ``[B, D0]`` alone, before any expert has run: what sparse routing asks.

        Raises:
            ValueError: if the detectors read what only the experts know.
        """
        log_odds = shared.new_full((len(self.members), len(shared)), torch.inf)
        for k, detector in self.detectors.items():
            if not isinstance(detector, TrunkDetector):
                raise ValueError("only detectors on the shared trunk can skip experts; train with detector='trunk'")
            log_odds[int(k)] = detector.before(shared)
        return log_odds

    def loss(self, log_odds: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
        """``Σ_k mean_b u_y BCE(σ(s_k), [y ∈ S_k])``, ``u_c ∝ 1 / n_c``: "mine" against "not mine".

        Every class counts the same (weight ``1 / n_c``, mean 1 over the training images), because a detector for
        rare classes sees almost no image of its own otherwise, and because the test set's prior of "mine" is
        then the share of classes in ``S_k``.

        Args:
            log_odds: ``[K, B]``; labels: ``[B]``.
            class_weights: ``[C]``, weight of an image by its class.
        """
        losses = [
            F.binary_cross_entropy_with_logits(
                log_odds[int(k)], self.members[int(k)][labels].float(), weight=class_weights[labels]
            )
            for k in self.detectors
        ]
        return torch.stack(losses).sum() if losses else log_odds.new_zeros(())
