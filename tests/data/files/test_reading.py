"""Reading ahead: in order, no further than asked, and no thread left behind."""

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dqroute.data.files.reading import AHEAD, cores, read_ahead

BASE = Path("pictures")


def numbered(file, number):
    """A picture full of its own number, sooner or later."""
    time.sleep(0.001 * (number % 3))
    return np.full((2, 2, 3), number, dtype=np.uint8)


def start(parts, read=numbered, **options):
    return read_ahead(parts, lambda number: BASE / f"{number}.jpg", read, 2, BASE, **options)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dqroute-reading")]


@pytest.mark.parametrize("threads", [None, 1, 5])
def test_batches_come_in_order_whatever_is_ready_first(threads):
    parts = torch.randperm(100, generator=torch.Generator().manual_seed(0)).split([30, 30, 1, 39])
    batches = list(start(parts, threads=threads))
    assert [batch.shape for batch in batches] == [(len(part), 3, 2, 2) for part in parts]
    for part, batch in zip(parts, batches, strict=True):
        assert batch.dtype == torch.uint8 and batch[:, 0, 0, 0].tolist() == part.tolist()
        assert (batch == batch[:, :1, :1, :1]).all()
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    assert not readers()


def test_only_a_few_batches_are_decoded_ahead():
    asked = []

    def parts():
        for index in range(100):
            asked.append(index)
            yield torch.tensor([index])

    batches = start(parts())
    next(batches)
    time.sleep(0.05)
    assert len(asked) == AHEAD + 1
    next(batches)
    assert len(asked) == AHEAD + 2
    batches.close()


def test_stopping_early_ends_the_threads():
    parts = torch.arange(1000).split(10)
    for batch in start(parts):
        assert batch.shape[0] == 10 and readers()
        break
    gc.collect()
    assert not readers()
    batches = start(parts)
    next(batches)
    batches.close()
    assert not readers()


def test_a_file_that_cannot_be_read_is_named_when_it_is_its_turn():
    def read(file, number):
        if number in (25, 26):
            raise OSError(2, "No such file or directory", str(file.absolute()))
        return numbered(file, number)

    batches = start(torch.arange(100).split(10), read)
    assert [int(next(batches)[0, 0, 0, 0]) for _ in range(2)] == [0, 10]
    with pytest.raises(ValueError) as error:
        next(batches)
    said = str(error.value)
    assert said.startswith(
        "cannot read 25.jpg (No such file or directory), 26.jpg (No such file or directory); restore"
    )
    assert "finished epochs are kept" in said and str(Path.cwd()) not in said
    assert not readers()
    with pytest.raises(StopIteration):
        next(batches)


def test_an_interrupted_consumer_ends_the_threads():
    def consume():
        for _ in start(torch.arange(1000).split(10)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    gc.collect()
    assert not readers()


def test_there_is_a_core():
    assert cores() >= 1
