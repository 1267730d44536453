"""The checkpoint: whatever ends a training, at whatever moment, it goes on as if nothing had been."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from training import assert_same_run, ends, run_in, send_itself, start

import dqroute as dq
from dqroute.data.disk import read_tensors, write_tensors
from dqroute.methods.base import METHODS, Method, register
from dqroute.training import loop as train
from dqroute.training.loop import NonFiniteLoss, Training


def stop_after(monkeypatch, steps):
    """Let the training stop after so many steps, as Ctrl-C does."""
    original, done = Training.step, []

    def step(self, *arguments):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(Training, "step", step)


def cut_off(method, data, folder, quick, monkeypatch, steps, **changes):
    """The run as it is left by a training that stops after so many steps, each of which was saved."""
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            dq.fit(method, data, runs_dir=folder, checkpoint_minutes=0, **quick | changes)
    return run_in(folder)


@pytest.mark.parametrize(("method", "steps"), [("dqroute", 1), ("dqroute", 3), ("dqroute", 7), ("ldam", 5)])
def test_a_training_goes_on_to_the_last_bit_after_any_step(tiny, tmp_path, quick, monkeypatch, method, steps):
    """Three epochs of three steps; the deferred weights switch on at the third."""
    settings = {"epochs": 3, "start": 0.5}
    whole = dq.fit(method, tiny, runs_dir=tmp_path / "whole", **settings, **quick)
    left = cut_off(method, tiny, tmp_path / "cut", quick, monkeypatch, steps, **settings)
    assert len(left.epochs) == steps // 3
    _, metadata = read_tensors(left.checkpoint_file)
    assert (metadata["epochs"], metadata["step"]) == (str(steps // 3), str(steps % 3))
    original, done = Training.step, []
    monkeypatch.setattr(Training, "step", lambda self, *a: (done.append(1), original(self, *a))[1])
    resumed = dq.fit(method, tiny, runs_dir=tmp_path / "cut", **settings, **quick)
    assert len(done) == 9 - steps
    assert_same_run(whole, resumed)


def test_a_method_that_draws_random_numbers_draws_the_same_ones_again(tiny, tmp_path, quick, monkeypatch):
    before = dict(METHODS)

    @register("noisy")
    class Noisy(Method):
        """Cross-entropy on logits with noise."""

        def loss(self, outputs, labels):
            return F.cross_entropy(outputs.logits[0] + torch.randn_like(outputs.logits[0]), labels)

    try:
        whole = dq.fit("noisy", tiny, epochs=2, runs_dir=tmp_path / "whole", **quick)
        cut_off("noisy", tiny, tmp_path / "cut", quick, monkeypatch, 2, epochs=2)
        assert_same_run(whole, dq.fit("noisy", tiny, epochs=2, runs_dir=tmp_path / "cut", **quick))
    finally:
        METHODS.clear()
        METHODS.update(before)


def test_it_is_saved_as_often_as_asked_and_not_after_every_epoch(tiny, tmp_path, quick, monkeypatch):
    """A clock that moves on by half a minute whenever it is read, as it is once a step and at the end of an epoch."""
    original, written = train.write_checkpoint, []

    def write(path, digest, model, updates, epochs, part):
        written.append((epochs, part.step))
        original(path, digest, model, updates, epochs, part)

    monkeypatch.setattr(train, "write_checkpoint", write)
    settings = quick | {"batch_size": 16, "epochs": 2}
    steps = -(-len(tiny.train) // 16)
    dq.fit("cross-entropy", tiny, runs_dir=tmp_path / "seldom", checkpoint_minutes=1e6, **settings)
    assert written == []
    dq.fit("cross-entropy", tiny, runs_dir=tmp_path / "often", checkpoint_minutes=0, **settings)
    within = [[(epoch, step + 1) for step in range(steps - 1)] for epoch in range(2)]
    assert written == [*within[0], (1, 0), *within[1]]
    written.clear()
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr(train, "monotonic", lambda: next(clock))
    dq.fit("cross-entropy", tiny, runs_dir=tmp_path / "some", checkpoint_minutes=1.5, **settings)
    assert 2 < len(written) < steps


@pytest.mark.parametrize("minutes", [-1, "soon", float("nan"), None], ids=repr)
def test_a_pause_out_of_range_is_refused(tiny, runs_dir, quick, minutes):
    with pytest.raises(ValueError, match="checkpoint_minutes must (lie|be a number.*) at 0 or above"):
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, checkpoint_minutes=minutes, **quick)
    assert not runs_dir.exists()


def test_how_often_it_is_saved_does_not_make_another_run(tiny, runs_dir, quick):
    a, b = (dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, checkpoint_minutes=m, **quick) for m in (0, 10))
    assert a.folder == b.folder


# What a process is killed before, one after the other: steps, syncs and renamings of the files it writes. With a
# checkpoint a step, records and checkpoint are synchronised each, and then their folder.
KILLS = [("step", 0), ("sync", 0), ("rename", 0), ("step", 2), ("rename", 5), ("sync", 7), ("sync", 10), ("rename", 3)]


@pytest.mark.posix
@pytest.mark.slow
def test_killed_at_any_moment_a_run_ends_as_one_never_interrupted(tiny, tmp_path, quick):
    """SIGKILL cannot be caught: what is on the disk at that moment is all there is."""
    settings = {"epochs": 4, "start": 0.3}
    whole = dq.fit("dqroute", tiny, runs_dir=tmp_path / "whole", **quick | settings)
    for kill in KILLS:
        process = start(tmp_path / "cut", send_itself, signal.SIGKILL, *kill, checkpoint_minutes=0, **settings)
        assert ends([process]) == [-signal.SIGKILL], kill
    left = run_in(tmp_path / "cut")
    assert not left.finished and left.checkpoint_file.is_file()
    assert ends([start(tmp_path / "cut", **settings)]) == [0]
    assert_same_run(whole, left)


# --- failing writes, damage, strangers --------------------------------------------------------------------------


@pytest.fixture
def left(tiny, runs_dir, quick, monkeypatch):
    """A run cut off in the second of three epochs."""
    return cut_off("cross-entropy", tiny, runs_dir, quick, monkeypatch, 5, epochs=3)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.posix
def test_a_file_too_large_for_the_system_is_one_error_and_what_was_there_is_kept(left, tiny, runs_dir, tmp_path, quick):
    """A real failing write: the system refuses to let a file grow beyond 16 kB."""
    import resource  # Windows has no such module

    before = content(left.folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*checkpoint\.safetensors \(File too large\); choose"):
            dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, checkpoint_minutes=0, **quick)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = content(left.folder)
    assert after.keys() == before.keys() and not list(left.folder.glob(".*.partial"))
    assert after["checkpoint.safetensors"] == before["checkpoint.safetensors"]
    resumed = dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    assert_same_run(resumed, dq.fit("cross-entropy", tiny, epochs=3, runs_dir=tmp_path / "whole", **quick))


SMALL_DISK = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from training import QUICK, make_tiny
import dqroute as dq
disk = Path(sys.argv[2])
def fit():
    return dq.fit("cross-entropy", make_tiny(), epochs=2, runs_dir=disk, checkpoint_minutes=0, **QUICK)
try:
    fit()
except OSError as error:
    print("full:", error)
print(sorted(path.name for path in disk.glob("tiny/*/*")))
(disk / "ballast").unlink()
print("finished:", fit().finished)
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs Linux's unshare")
def test_a_full_disk_is_one_error_and_with_room_again_the_run_goes_on(tmp_path):
    """A disk of two megabytes in memory, all but 200 kB of it taken."""
    mount = f"mount -t tmpfs -o size=2m disk {tmp_path}"
    spaces = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*spaces, mount], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk")
    script = f'{mount} && head -c 1800k /dev/zero > {tmp_path}/ballast && exec "$@"'
    python = [sys.executable, "-c", SMALL_DISK, str(Path(__file__).parents[1]), str(tmp_path)]
    result = subprocess.run([*spaces, script, "sh", *python], capture_output=True, text=True)
    full, files, finished = result.stdout.splitlines()
    assert "cannot write" in full and "No space left on device" in full and "free some space" in full
    assert "partial" not in files and finished == "finished: True"


def test_a_foreign_file_in_the_place_of_the_checkpoint_is_refused(left, tiny, runs_dir, quick):
    write_tensors(left.checkpoint_file, {"a": torch.zeros(3)}, {})
    before = content(left.folder)
    with pytest.raises(ValueError, match=r"written by another version, or is no checkpoint; remove"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    assert content(left.folder) == before


def test_a_checkpoint_of_another_network_is_refused(left, tiny, runs_dir, quick):
    tensors, metadata = read_tensors(left.checkpoint_file)
    tensors["model.network.trunk.0.0.weight"] = torch.zeros(3)
    write_tensors(left.checkpoint_file, tensors, metadata)
    before = content(left.folder)
    with pytest.raises(ValueError, match=r"(?s)belongs to another network.*remove .* to train it again"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    assert content(left.folder) == before


def test_settings_changed_under_a_run_are_named(left, tiny, runs_dir, quick):
    path = left.folder / "settings.json"
    settings = json.loads(path.read_text())
    settings["training"]["lr"] = 0.2
    path.write_text(json.dumps(settings))
    before = content(left.folder)
    with pytest.raises(ValueError, match=r"settings\.json was changed after the run was made \(training differs\)"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    assert content(left.folder) == before


def test_other_images_under_the_same_name_change_nothing_in_the_folder(left, tiny, runs_dir, quick):
    images = tiny.train.images.clone()
    images[0, 0, 0, 0] ^= 1
    other = dataclasses.replace(tiny, train=dq.data.Split(images, tiny.train.labels))
    before = content(left.folder)
    with pytest.raises(ValueError, match="not those .* was begun with"):
        dq.fit("cross-entropy", other, epochs=3, runs_dir=runs_dir, **quick)
    assert content(left.folder) == before


def test_numbers_that_are_none_do_not_overwrite_the_checkpoint(tiny, runs_dir, quick, monkeypatch):
    left = cut_off("cross-entropy", tiny, runs_dir, quick, monkeypatch, 4, epochs=3)
    before = left.checkpoint_file.read_bytes()
    original = Training.step

    def spoiled(self, *arguments):
        loss, hits = original(self, *arguments)
        return loss * float("nan"), hits

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", spoiled)
        with pytest.raises(
            NonFiniteLoss, match="epoch 2 of 3.* holds 1 of 3 epochs and 1 of 3 steps of the next, and goes on"
        ):
            dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, checkpoint_minutes=0, **quick)
    assert left.checkpoint_file.read_bytes() == before
