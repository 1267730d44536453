"""One process at a time in a run folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dqroute.data.disk import unwritable

LOCK = ".lock"
PATIENCE = 60.0  # seconds between two signs of life of a process that waits


@contextmanager
def only_process(folder: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have the folder to oneself; say so and wait, calling ``waiting`` every minute, while another process has it.

    The lock is the operating system's and ends with the process that holds it, however that ends: the file that a
    killed process leaves behind blocks nobody. OSError, with the remedy, if the lock cannot be made there.
    """
    lock = FileLock(folder / LOCK)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            print(f"another process is making {folder}; waiting for it", file=sys.stderr, flush=True)
            while not lock.is_locked:
                try:
                    lock.acquire(timeout=PATIENCE, poll_interval=0.1)
                except Timeout:
                    waiting()
    except OSError as error:
        raise unwritable(folder / LOCK, error) from error
    try:
        yield
    finally:
        lock.release()
