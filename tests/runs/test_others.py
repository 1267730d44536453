"""Other labelled pictures, evaluated on purpose: classes by name, features by the run's own axes."""

import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from training import save_digits

import dqroute as dq
from dqroute.models.encoders import Encoder

HISTOGRAMS = "gradient-histograms"
QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def pictures(tiny, tmp_path):
    """A folder of digits 0 to 5, and a run on their features."""
    save_digits(tiny.train, tmp_path / "own", "digit {}", classes=range(6))
    data = dq.load(f"folder:{tmp_path / 'own'}", size=8, stream=True)
    run = dq.fit("cross-entropy", data, backbone=HISTOGRAMS, runs_dir=tmp_path / "runs", epochs=8, **QUIET)
    return tmp_path, run


def test_classes_are_matched_by_name_and_some_may_be_missing(tiny, pictures, capsys):
    place, run = pictures
    before = dq.evaluate(run)
    save_digits(tiny.test, place / "new", "digit {}", classes=(2, 4))
    for options in ({"stream": True}, {"stream": False}, {"stream": True, "backbone": HISTOGRAMS}):
        other = dq.load(f"folder:{place / 'new'}", size=8, **options)
        with pytest.raises(ValueError, match=r"on purpose: dq.evaluate\(run, data, other=True\)"):
            dq.evaluate(run, other, device="cpu")
        report = dq.evaluate(dq.Run(run.folder), other, other=True, device="cpu")
        assert report.images == 40 and report.split == "all"
        assert [share is None for share in report.per_class] == [True, True, False, True, False, True]
        assert report.overall > 0.4
        held = dq.evaluate(run, other, other=True, split="test", device="cpu")
        assert held.images == len(other.test)
    # Counted by hand, and nothing of the run's own has changed.
    every = torch.cat([other.splits[part].pictures.labels for part in ("train", "test")])
    said = torch.cat([run.model.predict(other.splits[part].pictures).label for part in ("train", "test")])
    right = (said == torch.tensor([2, 4])[every]).float().mean().item()
    assert report.overall == pytest.approx(right)
    assert run.report() == before and run.report("all") is None
    # What the run has learned by heart is no matter of these pictures.
    assert before.memorised is not None and report.memorised is None
    capsys.readouterr()
    dq.evaluate(run, other, other=True, device="cpu")
    assert "new: all 40 pictures are judged on, those that were held out and the others" in capsys.readouterr().out


@pytest.mark.parametrize("stream", [True, False])
def test_pictures_that_were_looked_at_once_are_not_looked_at_again(tiny, pictures, monkeypatch, capsys, stream):
    """Their features are kept by content, and the first time says how far it is."""
    place, run = pictures
    save_digits(tiny.test, place / "new", "digit {}", classes=(2, 4))
    other = dq.load(f"folder:{place / 'new'}", size=8, stream=stream)
    seen = []
    monkeypatch.setattr(Encoder, "forward", counted(Encoder.forward, seen))
    monkeypatch.setattr("dqroute.data.progress.SECONDS", 0)
    capsys.readouterr()
    first = dq.evaluate(run, other, other=True, device="cpu")
    assert sum(seen) == 40 and "new train: " in capsys.readouterr().err
    assert dq.evaluate(run, other, other=True, device="cpu") == first and sum(seen) == 40
    if stream:
        files = [split.file(i) for split in other.splits.values() for i in range(len(split))]
        assert len(dq.classify(run, files, device="cpu")) == 40 == sum(seen)


def counted(forward, seen):
    """The method, which notes how many pictures it was given."""

    def counting(self, pictures):
        seen.append(len(pictures))
        return forward(self, pictures)

    return counting


def test_where_nothing_can_be_kept_other_pictures_are_judged_all_the_same(tiny, pictures, monkeypatch):
    place, run = pictures
    save_digits(tiny.test, place / "new", "digit {}", classes=(2, 4))
    other = dq.load(f"folder:{place / 'new'}", size=8, stream=True)
    (place / "a file").write_text("no folder")
    with monkeypatch.context() as broken:
        broken.setenv("DQROUTE_CACHE", str(place / "a file"))
        report = dq.evaluate(run, other, other=True, device="cpu")
    assert report.overall == dq.evaluate(run, other, other=True, device="cpu").overall


def test_which_files_came_and_went_is_told_instead_of_digests(pictures):
    place, run = pictures
    for file in sorted((place / "own" / "digit 0").iterdir())[:2]:
        file.rename(file.with_stem("new-" + file.stem))
    sorted((place / "own" / "digit 1").iterdir())[0].unlink()
    Image.new("RGB", (8, 8)).save(place / "own" / "digit 1" / "other.png")
    data = dq.load(f"folder:{place / 'own'}", size=8, stream=True, seed=1)
    told = r"files is [0-9a-f]{8}…, was [0-9a-f]{8}….* \(files: 1 added, 1 gone, \d+ in another part\); if"
    with pytest.raises(ValueError, match=told):
        dq.evaluate(run, data)


def test_unknown_classes_are_named(tiny, pictures):
    place, run = pictures
    save_digits(tiny.test, place / "new", "digit {}", classes=(2, 7))
    other = dq.load(f"folder:{place / 'new'}", size=8, stream=True)
    with pytest.raises(ValueError, match="new has class 'digit 7', which .* was not trained on; it knows 'digit 0'"):
        dq.evaluate(run, other, other=True)
    with pytest.raises(ValueError, match="unknown split 'val'"):
        dq.evaluate(run, other, other=True, split="val")
    with pytest.raises(ValueError, match="are a set from dq.load"):
        dq.evaluate(run, other=True)


def test_pictures_that_were_trained_on_are_said(tiny, pictures):
    place, run = pictures
    save_digits(tiny.test, place / "new", "digit {}", classes=(2, 4))
    learned = run.data.train.pictures.file(0)
    shutil.copy(learned, place / "new" / "digit 2" / "again.png")
    other = dq.load(f"folder:{place / 'new'}", size=8, stream=True)
    with pytest.warns(
        UserWarning, match=r"1 of \d+ pictures are ones that the run was trained on.*'digit 2/again.png'"
    ):
        dq.evaluate(run, other, other=True, split="all", device="cpu")


def test_features_without_pictures_want_the_runs_own_axes(tiny, pictures, tmp_path):
    seen = dq.data.features(tiny, HISTOGRAMS, **QUIET)
    seen = replace(seen, **{part: replace(split, pictures=None) for part, split in seen.splits.items()})
    run = dq.fit("cross-entropy", seen, runs_dir=tmp_path / "runs", epochs=4, **QUIET)
    fewer = replace(seen, test=seen.test.at(torch.arange(50)), identity=seen.identity | {"fewer": True})
    assert dq.evaluate(run, fewer, other=True).images == 50
    both = (seen.test.labels < 6).nonzero().flatten()
    known = replace(seen, test=seen.test.at(both), class_names=tuple(f"digit {i}" for i in range(10)))
    with pytest.raises(ValueError, match="are not as .* wants them; load the pictures themselves"):
        dq.evaluate(pictures[1], known, other=True)


def test_pictures_in_memory_of_a_network_from_scratch(trained, tiny):
    fewer = replace(tiny, test=tiny.test.at(torch.arange(60)), val=None, identity={"name": "fewer"})
    report = dq.evaluate(trained[0], fewer, other=True, device="cpu")
    right = trained[0].model.predict(fewer.test.images).label == fewer.test.labels
    assert report.images == 60 and report.overall == pytest.approx(right.float().mean().item())
