"""Many pictures: a handful for a model, and ahead of their use: in order, no further than asked, no thread left."""

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dqroute as dq
from dqroute.data.files.reading import AHEAD, cores, read_ahead

BASE = Path("pictures")
NAMES = [f"{number}.jpg" for number in range(1000)]


def numbered(file, number):
    """A picture full of its own number."""
    assert file == BASE / f"{number}.jpg"
    return np.full((2, 2, 3), number, dtype=np.uint8)


def start(parts, read=numbered, **options):
    return read_ahead(parts, NAMES, BASE, read, 2, **options)


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
    assert "what is finished is kept" in said and str(Path.cwd()) not in said
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


def test_a_picture_that_is_ready_first_waits_for_its_turn():
    """The first picture of all is decoded after the last one of its batch."""
    last = threading.Event()

    def read(file, number):
        if number == 0:
            last.wait()
        if number == 29:
            last.set()
        return numbered(file, number)

    batches = list(start(torch.arange(60).split(30), read, threads=4))
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == list(range(60))


@pytest.mark.parametrize(("ranks", "share"), [(None, 12), ("", 12), ("1", 12), ("4", 3), ("5", 2), ("64", 1)])
def test_processes_of_one_training_share_the_cores_of_their_machine(monkeypatch, ranks, share):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert cores() == share


def test_there_are_as_many_threads_as_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    together = threading.Barrier(3)

    def read(file, number):
        together.wait()  # passed when three are decoding; a fourth would wait for ever
        assert len(readers()) <= 3
        return numbered(file, number)

    assert len(list(start(torch.arange(24).split(24), read))) == 1


def test_pictures_of_any_size_become_what_a_model_takes(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "wide.png")
    (tmp_path / "below").mkdir()
    Image.new("L", (16, 16), 7).save(tmp_path / "below" / "grey.png")
    images = dq.read_images([tmp_path / "wide.png", str(tmp_path / "below" / "grey.png")], size=16)
    assert images.dtype == torch.uint8 and images.shape == (2, 3, 16, 16)
    assert (images[0, 0] == 255).all() and (images[0, 1:] == 0).all() and (images[1] == 7).all()


def test_unreadable_and_absent_pictures_are_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"2 images|broken\.png.*absent\.png"):
        dq.read_images([tmp_path / "broken.png", tmp_path / "absent.png"], size=16)
    with pytest.raises(ValueError, match="no files"):
        dq.read_images([], size=16)
