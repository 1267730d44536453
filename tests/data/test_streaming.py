"""Training from files: the same batches by seed, whatever the threads; resumed like uninterrupted; bad files named."""

import threading

import pytest
import torch
from photos import save_picture
from training import assert_same_run

import dqroute as dq
from dqroute.data import FileSplit, ResizedCrop, load
from dqroute.data.batches import Batches
from dqroute.data.streaming import StreamedBatches, batches_of
from dqroute.training.loop import Training

CPU = torch.device("cpu")


@pytest.fixture
def data(photo_tree):
    return load(f"folder:{photo_tree}", size=24, stream=True, val=2)


@pytest.fixture
def split(data):
    """The training files, each with a label of its own."""
    return FileSplit(data.train.base, data.train.names, torch.arange(len(data.train)), 24)


def one_epoch(split, seed=0, batch_size=4, threads=None):
    parts = list(StreamedBatches(split, ResizedCrop(), batch_size, CPU, threads).epoch(seed))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dqroute-reading")]


def test_every_image_comes_once_an_epoch_in_batches_of_the_size_asked(split):
    for batch_size in (1, 2, 4, 8, 100):
        batches = StreamedBatches(split, ResizedCrop(), batch_size, CPU)
        parts = list(batches.epoch(0))
        in_memory = Batches(load_in_memory(split), dq.data.Augmentation(0), batch_size, CPU)
        assert [len(labels) for _, labels in parts] == [len(labels) for _, labels in in_memory.epoch(0)]
        assert len(batches) == len(parts)
        assert torch.cat([labels for _, labels in parts]).sort().values.tolist() == list(range(9))


def load_in_memory(split):
    return dq.data.Split(split.take(range(len(split))), split.labels)


def test_an_epoch_depends_on_the_seed_alone(split):
    """Not on threads, batch size, the global generators, or epochs before it."""
    images, labels = one_epoch(split, seed=3)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    for options in ({"threads": 1}, {"threads": 5}, {"batch_size": 2}, {"batch_size": 100}):
        again = one_epoch(split, seed=3, **options)
        assert torch.equal(again[0], images) and torch.equal(again[1], labels)
    assert torch.equal(torch.get_rng_state(), state)
    other = one_epoch(split, seed=4)
    assert not torch.equal(other[1], labels)
    by_label = images[labels.argsort()], other[0][other[1].argsort()]
    assert all(not torch.equal(a, b) for a, b in zip(*by_label, strict=True))


def test_no_crop_of_one_seed_comes_back_with_another(tmp_path):
    """Twenty copies of one picture: epochs of neighbouring seeds have no crop in common."""
    for index in range(20):
        save_picture(tmp_path / f"{index}.jpg", 60, 80)
    copies = FileSplit(tmp_path, tuple(f"{index}.jpg" for index in range(20)), torch.arange(20), 8)
    crops = [bytes(image.contiguous().numpy()) for seed in range(3) for image in one_epoch(copies, seed)[0]]
    assert len(set(crops)) == 60


def test_batches_are_bytes_with_channels_last(split):
    images, labels = next(StreamedBatches(split, ResizedCrop(), 4, CPU).epoch(0))
    assert images.dtype == torch.uint8 and images.shape == (4, 3, 24, 24)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64 and labels.shape == (4,)


def test_an_image_set_gets_the_batches_of_its_kind(data, tiny):
    assert isinstance(batches_of(data, 4, CPU), StreamedBatches)
    assert isinstance(batches_of(tiny, 4, CPU), Batches)


def test_an_epoch_gone_on_with_has_the_batches_that_were_left(split):
    whole, rest = (list(StreamedBatches(split, ResizedCrop(), 4, CPU).epoch(3, first)) for first in (0, 1))
    assert len(rest) == len(whole) - 1
    for (images, labels), (again, same) in zip(whole[1:], rest, strict=True):
        assert torch.equal(images, again) and torch.equal(labels, same)


def test_an_epoch_left_early_leaves_no_thread(split):
    for _ in StreamedBatches(split, ResizedCrop(), 2, CPU).epoch(0):
        assert readers()
        break
    assert not readers()


def fit(data, folder, quick, **changes):
    return dq.fit("dqroute", data, runs_dir=folder, **quick | {"epochs": 3, "batch_size": 4} | changes)


@pytest.mark.parametrize("minutes", [0, 10], ids=["each step saved", "each epoch saved"])
def test_training_from_files_resumes_as_if_uninterrupted_and_is_evaluated(data, tmp_path, quick, monkeypatch, minutes):
    whole = fit(data, tmp_path / "whole", quick)
    original = Training.step
    steps = []

    def step(self, *arguments):
        steps.append(1)
        if len(steps) == 5:  # in the middle of the second epoch of three steps
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", step)
        with pytest.raises(KeyboardInterrupt):
            fit(data, tmp_path / "parts", quick, checkpoint_minutes=minutes)
    parts = fit(data, tmp_path / "parts", quick)
    assert "resumed" in parts.provenance and "val" in parts.epochs[0]
    assert_same_run(whole, parts)
    report = dq.evaluate(parts, device="cpu")
    right = (parts.model.predict(data.test).label == data.test.labels).float().mean().item()
    assert report.images == 6 and report.overall == right
    assert parts.settings["augmentation"] == {"scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "flip": True}


def test_training_from_files_is_another_run_than_training_from_memory(photo_tree, tmp_path, quick):
    folders = {
        fit(load(f"folder:{photo_tree}", size=24, stream=stream), tmp_path, quick, epochs=1).folder
        for stream in (True, False)
    }
    assert len(folders) == 2


def spoil(file, how):
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    elif how == "no image":
        file.write_bytes(b"no image at all")
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", "truncated"),
        ("no image", "not an image PIL knows"),
        ("empty", "not an image PIL knows"),
        ("gone", "No such file or directory"),
    ],
)
def test_a_bad_file_is_one_clear_error_and_costs_no_finished_epoch(how, said, data, tmp_path, quick, monkeypatch):
    """The file breaks after the first epoch; restored, the training ends as an undisturbed one."""
    name = data.train.names[4]
    file = data.train.file(4)
    content, original = file.read_bytes(), Training.epoch

    def epoch(self, index):
        if index == 1:
            spoil(file, how)
        return original(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", epoch)
        with pytest.raises(ValueError) as error:
            fit(data, tmp_path / "a", quick)
    message = str(error.value)
    assert message.startswith(f"cannot read {name} ({said}") or (said in message and name in message)
    assert "restore it as it was and start again" in message and str(tmp_path) not in message
    assert not readers()
    file.write_bytes(content)
    resumed = fit(data, tmp_path / "a", quick)
    assert len(resumed.provenance["resumed"]) == 1
    assert_same_run(resumed, fit(data, tmp_path / "b", quick))


def test_a_bad_test_file_is_named_by_evaluation(data, tmp_path, quick):
    run = fit(data, tmp_path, quick, epochs=1)
    spoil(data.test.file(2), "no image")
    with pytest.raises(ValueError, match="cannot read test/.*picture 2.JPG .not an image PIL knows"):
        dq.evaluate(run, device="cpu")
    assert run.finished and not readers()


def test_pictures_of_one_pixel_and_other_kinds_train_too(tmp_path, quick):
    for part in ("train", "test"):
        save_picture(tmp_path / part / "a" / "pixel.jpg", 1, 1)
        save_picture(tmp_path / part / "a" / "tall.png", 90, 2)
        save_picture(tmp_path / part / "b" / "progressive.jpg", progressive=True)
        save_picture(tmp_path / part / "b" / "wide.webp", 3, 200)
    run = fit(load(f"folder:{tmp_path}", size=24, stream=True), tmp_path / "runs", quick, epochs=1)
    assert run.finished and dq.evaluate(run, device="cpu").images == 4


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_several_processes_make_up_the_batches_of_one(split, count):
    def batches(**share):
        return list(StreamedBatches(split, ResizedCrop(), 4, CPU, **share).epoch(3, first=1))

    one, shares = batches(), [batches(share=(rank, count)) for rank in range(count)]
    assert one
    for (images, labels), *parts in zip(one, *shares, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert torch.equal(torch.cat([part for _, part in parts]), labels)
