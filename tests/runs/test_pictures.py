"""Files whose content was exchanged behind their names and sizes are noticed."""

import pytest
from PIL import Image

import dqroute as dq
from dqroute.training.loop import Training

QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def bitmaps(tmp_path):
    """Files of one size in bytes, two classes of six, of which two are tested on."""
    for i in range(12):
        place = tmp_path / "set" / ("test" if i < 4 else "train") / ("red", "blue")[i % 2] / f"{i}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (200 - i, 3 * i, 0) if i % 2 == 0 else (0, 3 * i, 200 - i)).save(place)
    return tmp_path / "set"


def exchange(data, part="train"):
    """Exchange the contents of two files of different classes; returns their names."""
    split = data.splits[part]
    first, last = split.file(0), split.file(len(split) - 1)
    content = first.read_bytes()
    first.write_bytes(last.read_bytes())
    last.write_bytes(content)
    return split.names[0], split.names[-1]


@pytest.mark.parametrize("settings", [{"backbone": "resnet8", "epochs": 1}, {"backbone": "gradient-histograms"}])
def test_exchanged_contents_are_named_where_the_old_run_is_found(bitmaps, tmp_path, settings, recwarn):
    def fit(**more):
        data = dq.load(f"folder:{bitmaps}", size=8, stream=True)
        return data, dq.fit("cross-entropy", data, runs_dir=tmp_path / "runs", **QUIET | settings | more)

    data, run = fit()
    assert fit()[1].folder == run.folder and not recwarn
    one, other = exchange(data)
    with pytest.warns(UserWarning, match=rf"'{one}', '{other}': other content than when .*another runs_dir"):
        assert fit()[1].folder == run.folder
    if "resnet8" in settings.values():
        recwarn.clear()
        fit(check=False)  # looks at no file
        assert not recwarn
    # Evaluation hears of test files alone.
    data, again = fit()[0], dq.Run(run.folder)
    recwarn.clear()
    dq.evaluate(again, data, device="cpu")
    assert not recwarn
    one, other = exchange(data, "test")
    with pytest.warns(UserWarning, match=f"'{one}', '{other}': other content"):
        dq.evaluate(again, dq.load(f"folder:{bitmaps}", size=8, stream=True), device="cpu")


def test_where_nobody_divided_the_pictures_exchanged_contents_are_another_run_or_named(bitmaps, tmp_path, recwarn):
    """What is held out goes by content: the exchanged ones may lie in other parts than before."""
    data = dq.load(f"folder:{bitmaps / 'train'}", size=8, stream=True)
    quick = {"backbone": "resnet8", "epochs": 1, "runs_dir": tmp_path / "runs"}
    run = dq.fit("cross-entropy", data, **quick, **QUIET)
    exchange(data)
    again = dq.load(f"folder:{bitmaps / 'train'}", size=8, stream=True)
    other = dq.fit("cross-entropy", again, **quick, **QUIET)
    same = {part: split.names for part, split in data.splits.items()} == {
        part: split.names for part, split in again.splits.items()
    }
    named = any("other content than when" in str(each.message) for each in recwarn)
    assert (other.folder == run.folder) == same == named


def test_a_training_does_not_go_on_with_other_contents(bitmaps, tmp_path, monkeypatch):
    def fit():
        data = dq.load(f"folder:{bitmaps}", size=8, stream=True)
        return dq.fit(
            "cross-entropy",
            data,
            runs_dir=tmp_path / "runs",
            backbone="resnet8",
            epochs=2,
            checkpoint_minutes=0,
            **QUIET,
        )

    original = Training.epoch

    def epoch(self, index):
        if index == 1:
            raise KeyboardInterrupt
        return original(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            fit()
    data = dq.load(f"folder:{bitmaps}", size=8, stream=True)
    one, _ = exchange(data)
    with pytest.raises(ValueError, match=f"'{one}'.*: other content than when .* was begun; restore"):
        fit()
    exchange(data)
    assert fit().finished
