"""SIGTERM, by which a cluster asks a process to end, and Ctrl-C: first finish the step and save, then end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a shell reports of a process that SIGTERM ended.
EXIT_CODE = 128 + signal.SIGTERM


@contextmanager
def told_to_end() -> Iterator[Callable[[], BaseException | None]]:
    """Note the signals instead of dying of them; the function given tells what to end with, once one came.

    A second Ctrl-C ends at once. Afterwards the signals do again what they did before. Python lets only the main thread
    catch signals: in any other thread nothing is noted.
    """
    ends: list[BaseException] = []

    def note(number: int, _: object) -> None:
        if ends and number == signal.SIGINT:
            raise KeyboardInterrupt
        ends.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(EXIT_CODE))

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What is ignored stays so, and a handler that is not Python's (None) could not be put back.
    caught = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    if threading.current_thread() is not threading.main_thread():
        caught = []
    try:
        for number in caught:
            signal.signal(number, note)
        yield lambda: ends[0] if ends else None
    finally:
        for number in caught:
            signal.signal(number, before[number])
