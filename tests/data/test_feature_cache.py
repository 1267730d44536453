"""The cache of features: what is in it is found again, what is damaged is said and computed anew."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dqroute.data.disk import write_tensors
from dqroute.data.feature_cache import FeatureCache, key_of

KEYS = [key_of(bytes([number])) for number in range(5)]
ROWS = torch.arange(15.0).view(5, 3)


def test_what_is_kept_is_found_again_in_any_order(tmp_path):
    cache = FeatureCache(tmp_path, 3)
    cache.add(KEYS[:3], ROWS[:3])
    cache.add(KEYS[3:], ROWS[3:])
    for opened in (cache, FeatureCache(tmp_path, 3)):
        assert KEYS[4] in opened and key_of(b"other") not in opened
        assert torch.equal(opened.read([KEYS[4], KEYS[0], KEYS[4]]), ROWS[[4, 0, 4]])


def test_large_numbers_are_kept_too(tmp_path):
    cache = FeatureCache(tmp_path, 1)
    cache.add(KEYS[:1], torch.tensor([[1e6]]))
    assert FeatureCache(tmp_path, 1).read(KEYS[:1]).item() == 1e6


@pytest.mark.parametrize("damage", [lambda whole: whole[:50], lambda whole: b"", lambda whole: b"x" * len(whole)])
def test_a_damaged_file_is_said_and_forgotten(tmp_path, damage):
    FeatureCache(tmp_path, 3).add(KEYS, ROWS)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged .*; its features are computed again"):
        cache = FeatureCache(tmp_path, 3)
    assert KEYS[0] not in cache
    cache.add(KEYS, ROWS)
    assert torch.equal(FeatureCache(tmp_path, 3).read(KEYS), ROWS)


def test_features_that_were_changed_on_disk_are_refused_with_the_remedy(tmp_path):
    FeatureCache(tmp_path, 3).add(KEYS, ROWS)
    (file,) = tmp_path.glob("*.safetensors")
    whole = bytearray(file.read_bytes())
    number = whole.rindex(torch.tensor(14.0).half().numpy().tobytes())
    whole[number : number + 2] = torch.tensor(15.0).half().numpy().tobytes()
    file.write_bytes(whole)
    cache = FeatureCache(tmp_path, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="holds other features than were computed; remove it, and they are comp"):
            cache.read(KEYS[:1])
    file.unlink()
    cache.add(KEYS, ROWS)
    assert torch.equal(cache.read(KEYS), ROWS)


def test_files_of_before_there_was_a_digest_are_read(tmp_path):
    table = torch.frombuffer(bytearray(b"".join(KEYS)), dtype=torch.uint8).view(-1, 16)
    write_tensors(tmp_path / "old.safetensors", {"keys": table, "features": ROWS.half()}, {})
    assert torch.equal(FeatureCache(tmp_path, 3).read(KEYS), ROWS)


def test_features_of_another_width_are_not_taken(tmp_path):
    FeatureCache(tmp_path, 3).add(KEYS, ROWS)
    with pytest.warns(UserWarning, match="is damaged"):
        assert KEYS[0] not in FeatureCache(tmp_path, 4)


@pytest.mark.posix
def test_what_a_killed_process_left_half_written_goes_once_nobody_can_be_at_it(tmp_path):
    code = """
import os, signal, sys, torch
from pathlib import Path
from dqroute.data.feature_cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]), 3)
cache.add([bytes(16)], torch.zeros(1, 3))
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
cache.add([bytes(range(16))], torch.ones(1, 3))
"""
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (half,) = tmp_path.glob(".*.partial")
    cache = FeatureCache(tmp_path, 3)
    # Another process may be writing it: it has to find its file where it left it.
    assert half.exists() and bytes(16) in cache and bytes(range(16)) not in cache
    os.utime(half, (0, time.time() - 4000))
    cache = FeatureCache(tmp_path, 3)
    assert not half.exists() and bytes(16) in cache
    cache.add([bytes(range(16))], torch.ones(1, 3))
    assert torch.equal(FeatureCache(tmp_path, 3).read([bytes(range(16))]), torch.ones(1, 3))


@pytest.mark.posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_names_the_place_and_the_remedy(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path, 3)
    cache.add(KEYS[:2], ROWS[:2])
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left.*free some space or set DQROUTE_CACHE to another place"):
        cache.add(KEYS[2:], ROWS[2:])
    monkeypatch.undo()
    # What was kept before is kept, and nothing else.
    again = FeatureCache(tmp_path, 3)
    assert KEYS[1] in again and KEYS[2] not in again
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]
