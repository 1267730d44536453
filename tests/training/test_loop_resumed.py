"""A training that was stopped goes on to the same bits; one that can not says why."""

import dataclasses
import errno
import shutil

import pytest
import torch
from training import assert_same_run

import dqroute as dq
from dqroute.data import Split
from dqroute.data.batches import Batches
from dqroute.methods.base import METHODS
from dqroute.models import device as engine
from dqroute.training import checkpoint
from dqroute.training import loop as train
from dqroute.training.loop import Training


def interrupt(monkeypatch, at):
    """Let the training stop before an epoch."""
    original = Training.epoch

    def epoch(self, index):
        if index == at:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(Training, "epoch", epoch)


@pytest.mark.parametrize(
    ("method", "options", "at"),
    [
        *(("dqroute", {"start": 0.5}, at) for at in (0, 2, 3)),
        ("ldam", {"start": 0.5}, 2),
        ("dqroute", {"start": 0.5, "optimizer": "sgd"}, 2),
    ],
    ids=str,
)
def test_a_run_interrupted_between_epochs_resumes_to_the_last_bit(
    tiny, tmp_path, quick, monkeypatch, at, method, options
):
    """Four epochs; the deferred weights switch on at the third."""
    whole = dq.fit(method, tiny, epochs=4, runs_dir=tmp_path / "whole", **options, **quick)
    with monkeypatch.context() as patch:
        interrupt(patch, at)
        with pytest.raises(KeyboardInterrupt):
            dq.fit(method, tiny, epochs=4, runs_dir=tmp_path / "cut", **options, **quick)
    (folder,) = (tmp_path / "cut" / "tiny").iterdir()
    left = dq.Run(folder)
    assert not left.finished and len(left.epochs) == at and dq.find_runs(tmp_path / "cut") == []
    resumed = dq.fit(method, tiny, epochs=4, runs_dir=tmp_path / "cut", **options, **quick)
    assert resumed.folder == folder and resumed.finished and not resumed.checkpoint_file.exists()
    assert_same_run(whole, resumed)


@pytest.mark.parametrize(
    ("where", "name", "kept"),
    [(Batches, "epoch", 3), (METHODS["dqroute"], "loss", 4), (METHODS["dqroute"], "observe", 0)],
    ids=["reading", "in the loss", "amid the changes"],
)
def test_an_error_amid_an_epoch_keeps_the_steps_before_and_says_so(
    tiny, tmp_path, quick, monkeypatch, where, name, kept
):
    """Of three steps an epoch. The loss counts its batch and the norms have seen it: both are taken back. What breaks
    off while weights are changed cannot be: then the last checkpoint stays, here none."""
    whole = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "whole", **quick)
    original, calls = getattr(where, name), []

    def fails(self, *arguments):
        calls.append(1)
        if where is Batches and len(calls) == 2:
            raise OSError("unreadable")
        result = original(self, *arguments)
        if where is not Batches and len(calls) == 5:
            raise MemoryError("too large")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails)
        with pytest.raises((MemoryError, OSError)) as caught:
            dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", **quick)
    (note,) = caught.value.__notes__
    said = {3: "holds 1 of 2 epochs, and goes on", 4: "holds 1 of 2 epochs and 1 of 3 steps", 0: "holds nothing of it"}
    assert said[kept] in note
    original_step, steps = Training.step, []
    monkeypatch.setattr(Training, "step", lambda self, *a: (steps.append(1), original_step(self, *a))[1])
    resumed = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", **quick)
    assert len(steps) == 6 - kept
    assert_same_run(whole, resumed)


@pytest.mark.parametrize(
    ("fails", "call"),
    [
        ("write_atomically", 1),
        ("write_atomically", 6),  # the records of the finished run
        *(("write_tensors", n) for n in (1, 3, 6)),  # the last are the weights
        ("write_json", 1),
        ("write_json", 2),
    ],
)
def test_a_full_disk_at_any_write_can_be_resumed_to_the_last_bit(tiny, tmp_path, quick, monkeypatch, fails, call):
    """Two epochs of three steps: five times records and checkpoint, then records and weights; provenance is written
    first and last."""
    whole = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "whole", **quick)
    original, calls = getattr(train, fails), []

    def full(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "cannot write; free some space or choose another runs_dir")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train, fails, full)
        if fails == "write_tensors":
            patch.setattr(checkpoint, fails, full)
        with pytest.raises(OSError, match="another runs_dir"):
            dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", checkpoint_minutes=0, **quick)
    resumed = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", **quick)
    assert_same_run(whole, resumed)


def test_partial_files_of_a_killed_process_are_cleared_away(tiny, runs_dir, quick, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("cross-entropy", tiny, epochs=2, runs_dir=runs_dir, **quick)
    (folder,) = (runs_dir / "tiny").iterdir()
    (folder / ".checkpoint.safetensors.999999.partial").write_bytes(b"half")
    dq.fit("cross-entropy", tiny, epochs=2, runs_dir=runs_dir, **quick)
    assert not list(folder.glob(".*.partial"))


def test_a_resumed_run_tells_of_its_second_start(tiny, runs_dir, quick, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("cross-entropy", tiny, epochs=2, runs_dir=runs_dir, **quick)
    made = dq.fit("cross-entropy", tiny, epochs=2, runs_dir=runs_dir, **quick).provenance
    assert made["precision"] == "fp32" and len(made["resumed"]) == 1
    assert made["resumed"][0]["started"] >= made["started"]


def test_a_run_does_not_go_on_with_other_images(tiny, runs_dir, quick, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("cross-entropy", tiny, epochs=2, runs_dir=runs_dir, **quick)
    edited = tiny.train.images.clone()
    edited[0, 0, 0, 0] ^= 1
    other = dataclasses.replace(tiny, train=Split(edited, tiny.train.labels))
    with pytest.raises(ValueError, match="images of tiny are not those .* was begun with"):
        dq.fit("cross-entropy", other, epochs=2, runs_dir=runs_dir, **quick)


@pytest.mark.slow
@pytest.mark.skipif(not engine.compiler_found(torch.device("cpu")), reason="needs a C++ compiler and Python's headers")
def test_a_compiled_training_differs_by_rounding_and_resumes_to_the_last_bit(tiny, tmp_path, quick, monkeypatch):
    """The digits' last batch is smaller and takes the network as it is; both kinds of batch occur."""
    plain = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "plain", **quick)
    whole = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "whole", compile=True, **quick)
    assert whole.provenance["compiled"] and not plain.provenance["compiled"]
    assert len(tiny.train) % quick["batch_size"] != 0
    # One step's rounding; later ones let it grow.
    assert whole.epochs[0]["loss"] == pytest.approx(plain.epochs[0]["loss"], rel=1e-3)
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", compile=True, **quick)
    # A run goes on as it was begun, whatever is asked for now.
    resumed = dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", compile=False, **quick)
    assert resumed.provenance["compiled"]
    assert_same_run(whole, resumed)


def test_in_bf16_too_a_run_resumes_to_the_last_bit(tiny, tmp_path, quick, monkeypatch):
    settings = quick | {"precision": "bf16", "optimizer": "muon"}
    whole = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings)
    assert_same_run(whole, dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings))


# --- damaged ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cut(tiny, runs_dir, quick, monkeypatch):
    """An interrupted run: two of three epochs done."""
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    (folder,) = (runs_dir / "tiny").iterdir()
    return dq.Run(folder)


def test_a_truncated_checkpoint_is_named_with_the_remedy(cut, tiny, runs_dir, quick):
    content = cut.checkpoint_file.read_bytes()
    cut.checkpoint_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is truncated.*train it again"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
    shutil.rmtree(cut.folder)  # the remedy that the message names
    assert dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick).finished


def test_another_runs_checkpoint_is_refused(cut, tiny, runs_dir, quick, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("cross-entropy", tiny, seed=1, epochs=3, runs_dir=runs_dir, **quick)
    (other,) = (folder for folder in (runs_dir / "tiny").iterdir() if folder != cut.folder)
    shutil.copy(other / "checkpoint.safetensors", cut.checkpoint_file)
    with pytest.raises(ValueError, match="belongs to another run; remove"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)


def test_a_checkpoint_ahead_of_its_records_is_refused(cut, tiny, runs_dir, quick):
    (cut.folder / "epochs.jsonl").unlink()
    with pytest.raises(ValueError, match="train it again"):
        dq.fit("cross-entropy", tiny, epochs=3, runs_dir=runs_dir, **quick)
