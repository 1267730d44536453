"""How far a long work is: a bar on a terminal, and elsewhere, as in a notebook's log, a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

# Seconds between two lines, and the share of the time so far, so that a long training does not fill its log.
SECONDS, SHARE = 5.0, 0.02
DELAY = 2.0  # seconds: what takes less needs no bar


class Progress:
    """Counts the steps of one work.

    Args:
        name: of the work; total: its steps; unit: what a step is.
        done: steps made before; show: whether to tell anything; clock: the time in seconds.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "step",
        *,
        done: int = 0,
        show: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit, self.clock = name, total, unit, clock
        self.first, self.done = done, done
        self.begun = self.said = clock()
        self.show, self.terminal = show, sys.stderr.isatty()
        off = not (show and self.terminal)
        self.bar = tqdm(total=total, initial=done, desc=name, unit=unit, disable=off, delay=DELAY)

    def step(self, number: int = 1, where: Callable[[], str] | None = None) -> None:
        """Count so many more.

        Args:
            where: what is to be told of them, else how many there were; asked for seldom, because a GPU may have to be
                waited for.
        """
        self.done += number
        spent = self.clock() - self.begun
        if self.show and spent + self.begun - self.said >= (0.5 if self.terminal else max(SECONDS, SHARE * spent)):
            self.said = spent + self.begun
            told = where() if where else f"{self.done:,} of {self.total:,} {self.unit}s"
            if self.terminal:
                self.bar.set_postfix_str(told if where else "", refresh=False)
            else:
                left = tqdm.format_interval(spent / (self.done - self.first) * (self.total - self.done))
                share = f"{self.done / self.total:.0%} done"
                print(f"{self.name}: {told}, {share}, {left} left", file=sys.stderr, flush=True)
        self.bar.update(number)
