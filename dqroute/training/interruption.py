"""SIGTERM, the signal by which a cluster asks a process to end: first save, then end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a shell reports of a process that SIGTERM ended.
EXIT_CODE = 128 + signal.SIGTERM


@contextmanager
def told_to_end() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM instead of dying of it; the function given tells whether it came.

    Afterwards the signal does again what it did before. Python lets only the main thread catch signals: in any other
    thread nothing is noted.
    """
    came: list[int] = []
    # A handler that is not Python's (None) could not be put back.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is None:
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
