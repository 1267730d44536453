"""How far a training is: a bar on a terminal, and elsewhere, as in a notebook's log, a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

# Seconds between two lines, and the share of the time so far, so that a long training does not fill its log.
SECONDS, SHARE = 5.0, 0.02


class Progress:
    """Counts the steps of one training.

    Args:
        name: of the run; epochs: of the training; batches: of an epoch; done: steps made before.
        show: whether to tell anything; clock: the time in seconds.
    """

    def __init__(
        self, name: str, epochs: int, batches: int, done: int, show: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.epochs, self.batches, self.clock = name, epochs, batches, clock
        self.first, self.done, self.total = done, done, epochs * batches
        self.begun = self.said = clock()
        self.show, self.terminal = show, sys.stderr.isatty()
        self.bar = tqdm(total=self.total, initial=done, desc=name, unit="step", disable=not (show and self.terminal))

    def step(self, loss: Callable[[], float]) -> None:
        """Count one more.

        Args:
            loss: of the epoch so far; asked for seldom, because a GPU has to be waited for.
        """
        self.done += 1
        spent = self.clock() - self.begun
        if self.show and spent + self.begun - self.said >= (0.5 if self.terminal else max(SECONDS, SHARE * spent)):
            self.said = spent + self.begun
            where = f"epoch {(self.done - 1) // self.batches + 1} of {self.epochs}, loss {loss():.3f}"
            self.bar.set_postfix_str(where, refresh=False)
            if not self.terminal:
                left = tqdm.format_interval(spent / (self.done - self.first) * (self.total - self.done))
                share = f"{self.done / self.total:.0%} done"
                print(f"{self.name}: {where}, {share}, {left} left", file=sys.stderr, flush=True)
        self.bar.update()
