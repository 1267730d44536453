"""Training from files: resumed like uninterrupted, bad files named, odd pictures taken."""

import threading

import pytest
from photos import save_picture
from training import assert_same_run

import dqroute as dq
from dqroute.data import load
from dqroute.training.loop import Training


@pytest.fixture
def data(photo_tree):
    return load(f"folder:{photo_tree}", size=24, stream=True, val=2)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dqroute-reading")]


def fit(data, folder, quick, **changes):
    return dq.fit("dqroute", data, runs_dir=folder, **quick | {"epochs": 3, "batch_size": 4} | changes)


def test_training_from_files_resumes_as_if_uninterrupted_and_is_evaluated(data, tmp_path, quick, monkeypatch):
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
            fit(data, tmp_path / "parts", quick, checkpoint_minutes=0)
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


def test_a_lost_file_is_one_clear_error_and_costs_no_finished_epoch(data, tmp_path, quick, monkeypatch):
    """The file goes after the first epoch; restored, the training ends as an undisturbed one."""
    name = data.train.names[4]
    file = data.train.file(4)
    content, original = file.read_bytes(), Training.epoch

    def epoch(self, index):
        if index == 1:
            file.unlink()
        return original(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", epoch)
        with pytest.raises(ValueError) as error:
            fit(data, tmp_path / "a", quick)
    message = str(error.value)
    assert message.startswith(f"cannot read {name} (No such file or directory); restore such files unchanged")
    assert str(tmp_path) not in message
    assert not readers()
    file.write_bytes(content)
    resumed = fit(data, tmp_path / "a", quick)
    assert len(resumed.provenance["resumed"]) == 1
    assert_same_run(resumed, fit(data, tmp_path / "b", quick))


def test_a_wrong_option_is_heard_before_files_are_checked(data, tmp_path, quick, monkeypatch):
    def checked(*_, **__):
        raise AssertionError("files were checked")

    monkeypatch.setattr("dqroute.training.fit.check_files", checked)
    with pytest.raises(ValueError, match="did you mean 'nested'"):
        fit(data, tmp_path, quick, fusion="nestd")
    with pytest.raises(AssertionError, match="files were checked"):
        fit(data, tmp_path, quick)


def test_a_bad_test_file_is_named_by_evaluation(data, tmp_path, quick):
    run = fit(data, tmp_path, quick, epochs=1)
    data.test.file(2).write_bytes(b"no image at all")
    with pytest.raises(ValueError, match="cannot read test/.*picture 2.JPG .no picture of a kind that is read here"):
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
