"""Training: the same run from the same seed to the last bit, and what stops it."""

import json
import math

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.nn import functional as F
from training import assert_same_run, records

import dqroute as dq
from dqroute.data.batches import Batches
from dqroute.methods.base import METHODS, Method, register
from dqroute.training.loop import NonFiniteLoss, Training
from dqroute.training.optimizer import Updates
from dqroute.training.settings import Settings

END_TO_END = [name for name, method in METHODS.items() if method.trained]


@pytest.mark.parametrize("method", END_TO_END)
def test_every_method_trains_alike_from_one_seed_and_otherwise_from_another(method, tiny, tmp_path, quick):
    first, again = (dq.fit(method, tiny, seed=5, epochs=1, runs_dir=tmp_path / name, **quick) for name in "ab")
    other = dq.fit(method, tiny, seed=6, epochs=1, runs_dir=tmp_path / "a", **quick)
    assert first.finished and len(first.epochs) == 1
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
    run = dq.fit("logit-adjustment", tiny, epochs=12, runs_dir=runs_dir, **quick)
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


@pytest.mark.parametrize(("method", "optimizer"), [*((method, "muon") for method in END_TO_END), ("dqroute", "sgd")])
def test_no_step_waits_for_a_number_from_the_device(method, optimizer, tiny, runs_dir, quick):
    """On fake tensors whatever reads a value fails, and whatever has a shape that depends on one."""
    run = dq.fit(method, tiny, epochs=1, runs_dir=runs_dir, optimizer=optimizer, **quick)
    training = Training(run, run.new_model(), tiny, Settings(**run.settings["training"]), torch.device("cpu"))
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


def test_cudnn_looks_for_its_fastest_kernels_while_a_training_lasts(tiny, tmp_path, quick, monkeypatch):
    cudnn, seen, original = torch.backends.cudnn, [], Training.step
    monkeypatch.setattr(cudnn, "benchmark", False)
    monkeypatch.setattr(Training, "step", lambda self, *a: (seen.append(cudnn.benchmark), original(self, *a))[1])
    for deterministic in (False, True):
        monkeypatch.setattr(cudnn, "deterministic", deterministic)
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=tmp_path / str(deterministic), **quick)
        assert cudnn.benchmark is False
    assert seen == [True] * 3 + [False] * 3


# --- gone wrong -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_the_epoch_and_keeps_the_last_checkpoint(registry, tiny, runs_dir, quick):
    @register("poisoned")
    class Poisoned(Method):
        """Cross-entropy until half of the training is done."""

        def loss(self, outputs, labels):
            loss = F.cross_entropy(outputs.logits[0], labels)
            return loss * float("nan") if self.progress >= 0.5 else loss

    with pytest.raises(
        NonFiniteLoss,
        match=r"poisoned became nan in epoch 3 of 4 \(lr 0\.1, kernel_lr 0\.05\).*lower the rate.* holds 2 of 4 epochs",
    ) as e:
        dq.fit("poisoned", tiny, epochs=4, runs_dir=runs_dir, checkpoint_minutes=0, **quick)
    (folder,) = (runs_dir / "tiny").iterdir()
    assert str(folder) in str(e.value)
    run = dq.Run(folder)
    assert len(run.epochs) == 2 and run.checkpoint_file.is_file() and not run.finished
    assert all(math.isfinite(record["loss"]) for record in run.epochs)


def test_a_rate_far_too_high_is_a_loss_that_is_no_number(tiny, runs_dir, quick):
    with pytest.raises(NonFiniteLoss, match=r"lr 1000"):
        dq.fit("cross-entropy", tiny, epochs=5, lr=1e3, warmup=0, weight_decay=1, runs_dir=runs_dir, **quick)


def test_a_run_whose_weights_are_no_numbers_is_not_finished(registry, tiny, runs_dir, quick):
    """The loss of the only step is finite, its gradient is not: √0 has an infinite slope."""

    @register("steep")
    class Steep(Method):
        """Cross-entropy and a root at zero."""

        def loss(self, outputs, labels):
            return F.cross_entropy(outputs.logits[0], labels) + (0 * outputs.logits).abs().sum().sqrt()

    settings = quick | {"batch_size": 1000}
    with pytest.raises(NonFiniteLoss):
        dq.fit("steep", tiny, epochs=1, runs_dir=runs_dir, **settings)


def test_a_last_batch_of_one_image_trains(tiny, runs_dir, quick):
    """A torchvision ResNet leaves one position of an image up to 32 pixels: batch norm then needs two images."""
    n = len(tiny.train)
    settings = quick | {"backbone": "resnet18", "batch_size": n - 1}
    assert dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **settings).finished


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_other_precisions_train_too(tiny, runs_dir, quick, precision):
    run = dq.fit("dqroute", tiny, epochs=2, runs_dir=runs_dir, **(quick | {"precision": precision}))
    assert {value.dtype for name, value in run.model.named_parameters()} == {torch.float32}
    assert all(math.isfinite(record["loss"]) for record in run.epochs)


def test_with_two_threads_a_run_is_the_same_to_the_last_bit(tiny, tmp_path, quick):
    """Batches twice as large as elsewhere, so that there is work for both."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs = [dq.fit("dqroute", tiny, epochs=1, runs_dir=tmp_path / n, **quick | {"batch_size": 128}) for n in "ab"]
    finally:
        torch.set_num_threads(before)
    assert_same_run(*runs)


def test_records_are_json_lines(trained):
    lines = (trained[1].folder / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_on_processors_no_step_marks_what_is_a_gpus_and_loads_torchs_compiler(tiny, runs_dir, quick, monkeypatch):
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", None)
    assert dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick).finished
