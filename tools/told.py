"""Methods that are told how hard the characters are, to ask whether difficulty pays where it is known."""

from __future__ import annotations

from torch import Tensor

from dqroute.core import losses
from dqroute.core.difficulty import update_difficulty_weights
from dqroute.data.sets.glyphs import true_difficulty
from dqroute.methods.base import Problem
from dqroute.methods.baselines import Weighted
from dqroute.methods.dqroute import DQRoute


def known_difficulty(problem: Problem) -> Tensor:
    """The measured error rate of each character, over the largest one: float64 ``[C]``, 0 to 1.

    Raises:
        ValueError: if the classes are not as many as the characters.
    """
    errors = true_difficulty()
    if len(errors) != len(problem.counts):
        raise ValueError(f"the difficulty of {len(errors)} characters is known; got {len(problem.counts)} classes")
    return errors.double() / errors.max()


class Told(DQRoute):
    """DQRoute whose difficulties are the measured error rates instead of what its tracker finds.

    They are brought to the tracker's range for λ = 1: the hardest class has 2, a class without errors 0.

    Args:
        alpha: as DQRoute's; its other options are at their defaults.
    """

    truth: Tensor

    def __init__(self, problem: Problem, *, alpha: float = 1.0) -> None:
        super().__init__(problem, alpha=alpha)
        self.register_buffer("truth", (2 * known_difficulty(problem)).float())

    def end_epoch(self) -> None:
        tracker = self.tracker
        before = tracker.weights.clone()
        tracker.end_epoch()
        tracker.difficulty.copy_(self.truth)
        tracker.weights.copy_(update_difficulty_weights(before, tracker.difficulty, tracker.gamma, tracker.memory))


class WeightedByTruth(Weighted):
    """One branch in which images of rare and of hard classes count more, from the first epoch on; the prior follows.

    ``v_c ∝ n_c^-q exp(κ d_c)``, ``d_c`` the known difficulty, 0 to 1; at κ = 0 it is ``"weighted"``.

    Args:
        rarity: q; hardness: κ, above 0 for the hard classes, below for the easy ones.
    """

    def __init__(self, problem: Problem, *, rarity: float = 0.25, hardness: float = 0.0) -> None:
        super().__init__(problem, rarity=rarity)
        v = self.focus.double() * (hardness * known_difficulty(problem)).exp()
        self.focus.copy_(losses.mean_one(v, problem.counts))
        self.log_prior.copy_(losses.expert_priors(self.log_pi, self.focus[None])[0])
