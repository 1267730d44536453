"""DQRoute that is told how hard the characters are, to ask whether difficulty pays where it is known."""

from __future__ import annotations

from torch import Tensor

from dqroute.data.glyphs import true_difficulty
from dqroute.difficulty import update_difficulty_weights
from dqroute.method import Problem
from dqroute.methods import DQRoute


class Told(DQRoute):
    """DQRoute whose difficulties are the measured error rates instead of what its tracker finds.

    They are brought to the tracker's range for λ = 1: the hardest class has 2, a class without errors 0.

    Args:
        alpha: as DQRoute's; its other options are at their defaults.
    """

    truth: Tensor

    def __init__(self, problem: Problem, *, alpha: float = 1.0) -> None:
        super().__init__(problem, alpha=alpha)
        errors = true_difficulty()
        if len(errors) != len(problem.counts):
            raise ValueError(f"the difficulty of {len(errors)} characters is known; got {len(problem.counts)} classes")
        self.register_buffer("truth", (2 * errors / errors.max()).float())

    def end_epoch(self) -> None:
        tracker = self.tracker
        before = tracker.weights.clone()
        tracker.end_epoch()
        tracker.difficulty.copy_(self.truth)
        tracker.weights.copy_(update_difficulty_weights(before, tracker.difficulty, tracker.gamma, tracker.memory))
