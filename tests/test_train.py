"""Training: the same run from the same seed to the last bit, through interruptions and failing writes."""

import dataclasses
import errno
import json
import math
import shutil

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.nn import functional as F
from training import assert_same_run, records

import dqroute as dq
from dqroute import checkpoint, engine, train
from dqroute.data import Split
from dqroute.data.batches import Batches
from dqroute.method import METHODS, Method, register
from dqroute.optimizer import Updates
from dqroute.settings import Settings
from dqroute.train import Training


def interrupt(monkeypatch, at):
    """Let the training stop before an epoch, as Ctrl-C does."""
    original = Training.epoch

    def epoch(self, index):
        if index == at:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(Training, "epoch", epoch)


@pytest.fixture
def registry():
    """The methods as they were, afterwards."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_alike_from_one_seed_and_otherwise_from_another(method, tiny, tmp_path, quick):
    first, again = (dq.fit(method, tiny, seed=5, epochs=2, runs_dir=tmp_path / name, **quick) for name in "ab")
    other = dq.fit(method, tiny, seed=6, epochs=2, runs_dir=tmp_path / "a", **quick)
    assert first.finished and len(first.epochs) == 2
    assert_same_run(first, again)
    assert records(first) != records(other)
    assert not torch.equal(
        first.model.state_dict()["network.trunk.0.0.weight"], other.model.state_dict()["network.trunk.0.0.weight"]
    )


def test_a_record_holds_what_happened(tiny, runs_dir, quick):
    """Rates at the end of each of 2 epochs, ⅔ of warm-up, peak 0.1: ½(1 + cos(π·¼)) of it after one, 0 after two."""
    run = dq.fit("dqroute", tiny, epochs=2, runs_dir=runs_dir, **quick)
    assert [record["epoch"] for record in run.epochs] == [1, 2]
    assert [record["rate"] for record in run.epochs] == pytest.approx([0.05 * (1 + math.sqrt(0.5)), 0])
    for record in run.epochs:
        assert record["loss"] > 0 and 0 <= record["accuracy"] <= 1 and record["seconds"] > 0
        assert set(record["val"]) == {"overall", "many", "medium", "few"}
        assert len(record["difficulty"]) == len(record["class_weights"]) == 10
    made = run.provenance
    assert made["data_fingerprint"] == tiny.fingerprint() and made["finished"] >= made["started"]
    asked = run.settings
    assert asked["data"] == tiny.identity and asked["training"]["epochs"] == 2 and asked["options"]["alpha"] == 0.5
    assert asked["problem"]["counts"] == tiny.counts.tolist() and asked["class_names"] == list("0123456789")


def test_without_a_validation_split_there_is_no_record_of_one(tiny_without_val, runs_dir, quick):
    run = dq.fit("cross-entropy", tiny_without_val, epochs=1, runs_dir=runs_dir, **quick)
    assert "val" not in run.epochs[0]


def test_the_validation_split_changes_nothing_in_the_training(tiny, tiny_without_val, runs_dir, quick):
    """The two sets have the same training images: looking at validation images between epochs must leave no trace."""
    with_val, without = (
        dq.fit("dqroute", data, epochs=2, runs_dir=runs_dir, **quick) for data in (tiny, tiny_without_val)
    )
    assert with_val.folder != without.folder
    for a, b in zip(with_val.model.state_dict().values(), without.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_training_learns(tiny, runs_dir, quick):
    """Chance is 10 %. The bar is far below what any healthy training reaches."""
    run = dq.fit("logit-adjustment", tiny, epochs=20, runs_dir=runs_dir, **quick)
    assert run.epochs[-1]["loss"] < 0.5 * run.epochs[0]["loss"]
    assert dq.evaluate(run, device="cpu").overall > 0.4


def test_one_step_is_that_of_sgd_by_hand(tiny, runs_dir, quick):
    """One batch of all images, one epoch at a constant rate, no momentum: w - lr (∂L/∂w + decay · w)."""
    settings = quick | {"optimizer": "sgd", "batch_size": 1000, "momentum": 0.0, "weight_decay": 0.01, "lr": 0.1}
    run = dq.fit("cross-entropy", tiny, epochs=1, schedule="step", warmup=0, runs_dir=runs_dir, **settings)
    model = run.new_model().to(memory_format=torch.channels_last).train()
    batches = Batches(tiny.train, tiny.augmentation, 1000, torch.device("cpu"))
    ((images, labels),) = batches.epoch(seed=0)
    F.cross_entropy(model(images).logits[0], labels).backward()
    rate = 0.1 * 0.1**2  # the last step of the step schedule stands behind both steps
    trained = dict(run.model.named_parameters())
    for name, p in model.named_parameters():
        torch.testing.assert_close(trained[name], p - rate * (p.grad + 0.01 * p), atol=1e-7, rtol=1e-5, msg=name)


def without_values(model, fake):
    """The model's parameters and buffers in place as fake tensors, which have shapes and no values."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module.register_parameter(name, torch.nn.Parameter(fake.from_tensor(parameter.detach())))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, fake.from_tensor(buffer))


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_a_number_from_the_device(method, optimizer, tiny, runs_dir, quick):
    """On fake tensors whatever reads a value fails, and whatever has a shape that depends on one."""
    run = dq.fit(method, tiny, epochs=1, runs_dir=runs_dir, optimizer=optimizer, **quick)
    training = Training(run, tiny, Settings(**run.settings["training"]), torch.device("cpu"))
    fake = FakeTensorMode()
    without_values(training.model, fake)
    training.updates = Updates(training.model, training.settings)
    training.model.train()
    with fake:
        images, labels = torch.empty(64, 1, 8, 8, dtype=torch.uint8), torch.empty(64, dtype=torch.int64)
        training.model.start_epoch(0.9)
        for _ in range(2):
            loss, _ = training.step(images, labels, 0.1)
        training.model.end_epoch()
        # The optimizers took their steps, and what they keep is fake too.
        held = training.updates.momenta().values()
        assert held and all(isinstance(momentum, FakeTensor) for momentum in held)
        with pytest.raises(DataDependentOutputException):
            loss.item()


def test_every_epoch_of_every_seed_has_an_order_of_its_own(tiny, runs_dir, quick, monkeypatch):
    original, seeds = Batches.epoch, []

    def epoch(self, seed, first):
        seeds.append(seed)
        return original(self, seed, first)

    monkeypatch.setattr(Batches, "epoch", epoch)
    for seed in (0, 1):
        dq.fit("cross-entropy", tiny, seed=seed, epochs=3, runs_dir=runs_dir, **quick)
    assert len(seeds) == len(set(seeds)) == 6


# --- interrupted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("method", "options"),
    [("dqroute", {"start": 0.5}), ("ldam", {"start": 0.5}), ("dqroute", {"start": 0.5, "optimizer": "muon"})],
    ids=["dqroute", "ldam", "dqroute by muon"],
)
def test_an_interrupted_run_resumes_to_the_last_bit(tiny, tmp_path, quick, monkeypatch, at, method, options):
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


def test_an_interruption_in_the_middle_of_an_epoch_loses_that_epoch_only(tiny, tmp_path, quick, monkeypatch):
    whole = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "whole", **quick)
    steps = []

    def observe(self, outputs, labels):
        steps.append(1)
        if len(steps) == 5:  # of 3 steps an epoch: the second one of epoch 2
            raise KeyboardInterrupt
        self.tracker.observe(self.fuse(outputs).log_probability, labels)

    with monkeypatch.context() as patch:
        patch.setattr(METHODS["dqroute"], "observe", observe)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **quick)
    resumed = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **quick)
    assert_same_run(whole, resumed)


@pytest.mark.parametrize(
    ("fails", "call"),
    [
        ("write_atomically", 1),
        ("write_atomically", 2),
        *(("write_tensors", n) for n in (1, 2, 3)),
        ("write_json", 1),
        ("write_json", 2),
    ],
)
def test_a_full_disk_at_any_write_can_be_resumed_to_the_last_bit(tiny, tmp_path, quick, monkeypatch, fails, call):
    """Two epochs write records and checkpoint twice, then the weights; provenance is written first and last."""
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
            dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / "cut", **quick)
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


# --- gone wrong -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_the_epoch_and_keeps_the_ones_before(registry, tiny, runs_dir, quick):
    @register("poisoned")
    class Poisoned(Method):
        """Cross-entropy until half of the training is done."""

        def loss(self, outputs, labels):
            loss = F.cross_entropy(outputs.logits[0], labels)
            return loss * float("nan") if self.progress >= 0.5 else loss

    with pytest.raises(
        dq.NonFiniteLoss,
        match=r"poisoned became nan in epoch 3 of 4 \(lr 0\.1, kernel_lr 0\.05\).*lower the rate.*2 epochs",
    ) as e:
        dq.fit("poisoned", tiny, epochs=4, runs_dir=runs_dir, **quick)
    (folder,) = (runs_dir / "tiny").iterdir()
    assert str(folder) in str(e.value)
    run = dq.Run(folder)
    assert len(run.epochs) == 2 and run.checkpoint_file.is_file() and not run.finished
    assert all(math.isfinite(record["loss"]) for record in run.epochs)


def test_a_rate_far_too_high_is_a_loss_that_is_no_number(tiny, runs_dir, quick):
    with pytest.raises(dq.NonFiniteLoss, match=r"lr 1000"):
        dq.fit("cross-entropy", tiny, epochs=5, lr=1e3, warmup=0, weight_decay=1, runs_dir=runs_dir, **quick)


def test_a_run_whose_weights_are_no_numbers_is_not_finished(registry, tiny, runs_dir, quick):
    """The loss of the only step is finite, its gradient is not: √0 has an infinite slope."""

    @register("steep")
    class Steep(Method):
        """Cross-entropy and a root at zero."""

        def loss(self, outputs, labels):
            return F.cross_entropy(outputs.logits[0], labels) + (0 * outputs.logits).abs().sum().sqrt()

    settings = quick | {"batch_size": 1000}
    with pytest.raises(dq.NonFiniteLoss):
        dq.fit("steep", tiny, epochs=1, runs_dir=runs_dir, **settings)


def test_a_last_batch_of_one_image_trains(tiny, runs_dir, quick):
    """A torchvision ResNet leaves one position of an image up to 32 pixels: batch norm then needs two images."""
    n = len(tiny.train)
    settings = quick | {"backbone": "resnet18", "batch_size": n - 1}
    assert dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **settings).finished


@pytest.mark.slow
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


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_other_precisions_train_too(tiny, runs_dir, quick, precision):
    run = dq.fit("dqroute", tiny, epochs=2, runs_dir=runs_dir, **(quick | {"precision": precision}))
    assert {value.dtype for name, value in run.model.named_parameters()} == {torch.float32}
    assert all(math.isfinite(record["loss"]) for record in run.epochs)


def test_in_bf16_too_a_run_resumes_to_the_last_bit(tiny, tmp_path, quick, monkeypatch):
    settings = quick | {"precision": "bf16", "optimizer": "muon"}
    whole = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings)
    assert_same_run(whole, dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings))


def test_with_two_threads_a_run_is_the_same_to_the_last_bit(tiny, tmp_path, quick):
    """Batches twice as large as elsewhere, so that there is work for both."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs = [dq.fit("dqroute", tiny, epochs=2, runs_dir=tmp_path / n, **quick | {"batch_size": 128}) for n in "ab"]
    finally:
        torch.set_num_threads(before)
    assert_same_run(*runs)


@pytest.mark.parametrize("begun", ["bf16", "fp32"])
def test_a_run_goes_on_in_the_precision_it_was_begun_in(tiny, tmp_path, quick, monkeypatch, begun):
    """Another machine, on which "auto" would come to the other one, goes on as the first one did."""
    settings = quick | {"precision": "auto"}

    def on_a_machine(has_bf16):
        return lambda device: has_bf16

    with monkeypatch.context() as patch:
        patch.setattr(engine, "computes_in_bf16", on_a_machine(begun == "bf16"))
        whole = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "whole", **settings)
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings)
    monkeypatch.setattr(engine, "computes_in_bf16", on_a_machine(begun != "bf16"))
    resumed = dq.fit("dqroute", tiny, epochs=3, runs_dir=tmp_path / "cut", **settings)
    assert resumed.provenance["precision"] == begun
    states = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_records_are_json_lines(trained):
    lines = (trained[1].folder / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
