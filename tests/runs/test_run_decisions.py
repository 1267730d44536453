"""A run on features of pictures in a folder: what it says of new pictures beside its answer, and of its own."""

import os
import shutil
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from training import save_digits

import dqroute as dq
from dqroute.core.judging import first_of_each, fold_of
from dqroute.data.alike import ALIKE
from dqroute.data.disk import read_tensors, write_tensors
from dqroute.data.feature_set import principal, projected
from dqroute.data.image_set import FeatureSplit
from dqroute.measures.intervals import wilson
from dqroute.measures.outsiders import Typical, seen_by_other_folds, share_as_strange
from dqroute.models.encoders import Encoder
from dqroute.runs.audit import suspect_labels
from dqroute.runs.by_class import by_class, confusions
from dqroute.runs.decisions import thresholds
from dqroute.runs.judged import out_of_fold
from dqroute.runs.label_next import label_next
from dqroute.runs.outsiders import keep_typical
from dqroute.runs.run import JUDGED, TYPICAL

QUIET = {"progress": False, "device": "cpu"}
ON_CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scanned digits as PNG files, a folder a class: some hundred to train on, 20 a class to test."""
    place, digits = tmp_path_factory.mktemp("digits"), dq.load("digits", imbalance=10, seed=0)
    for part, split in (("train", digits.train), ("test", digits.test.at(first_of_each(digits.test.labels, 20)))):
        save_digits(split, place / part, "digit {}", 32)
    return place


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    data = dq.load(f"folder:{place}", backbone="gradient-histograms")
    return dq.fit("logit-adjustment", data, runs_dir=tmp_path_factory.mktemp("runs"), epochs=15, **QUIET)


@pytest.fixture(scope="module")
def opened(run):
    """The run as somebody else has it: its folder alone."""
    return dq.Run(run.folder)


@pytest.fixture(scope="module")
def files(place):
    return sorted((place / "test").glob("*/*.png"))


def test_columns_are_added_as_they_are_asked_for(opened, files):
    plain = dq.classify(opened, files, **ON_CPU)
    table = dq.classify(opened, files, top=3, coverage=0.9, outsiders="mahalanobis", **ON_CPU)
    further = ["class 2", "probability 2", "class 3", "probability 3"]
    assert list(table.columns) == ["file", "class", "probability", *further, "answered", "set", "own", "problem"]
    assert table[list(plain.columns)].equals(plain)
    assert (table["probability 2"] >= table["probability 3"]).all()
    assert (table["class"] != table["class 2"]).all() and (table["class 2"] != table["class 3"]).all()
    assert len(dq.classify(opened, files[:2], top=99, **ON_CPU).columns) == 5 + 2 * 9


def test_pictures_seen_before_are_not_encoded_again(opened, files, tmp_path, monkeypatch):
    seen = []
    made = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, pictures: seen.append(len(pictures)) or made(self, pictures))
    (tmp_path / "notes.png").write_text("no picture")
    asked = [*files[:20], tmp_path / "notes.png", *files[20:40]]
    first = dq.classify(opened, asked, **ON_CPU)
    assert sum(seen) == 40 and "notes.png (no picture of a kind" in first["problem"][20]
    pd.testing.assert_frame_equal(dq.classify(opened, asked, batch_size=7, **ON_CPU), first)
    with pytest.warns(UserWarning, match="passed over what cannot be read"):
        label_next(opened, asked, **ON_CPU)
    assert sum(seen) == 40
    # A cache that cannot be written costs time alone.
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DQROUTE_CACHE", str(tmp_path / "file"))
    pd.testing.assert_frame_equal(
        dq.classify(opened, files[:40], **ON_CPU)[["class"]], first.drop(20).reset_index()[["class"]]
    )


def test_sets_hold_the_right_class_so_often_and_begin_with_the_answer(opened, files):
    sizes = []
    for coverage in (0.6, 0.9):
        table = dq.classify(opened, files, coverage=coverage, **ON_CPU)
        held = [file.parent.name in names for file, names in zip(files, table["set"], strict=True)]
        assert sum(held) / len(files) >= coverage - 0.08
        assert all(names[0] == said for said, names in zip(table["class"], table["set"], strict=True))
        sizes.append(table["set"].map(len).mean())
    assert sizes[0] < sizes[1] < 10


def test_a_file_that_cannot_be_read_has_neither_set_nor_share(opened, files, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    asked = [files[0], tmp_path / "notes.png", files[1]]
    table = dq.classify(opened, asked, top=2, coverage=0.9, outsiders="energy", **ON_CPU)
    assert table[["class", "class 2", "set", "own"]].isna().any(axis=1).tolist() == [False, True, False]
    assert len(dq.classify(opened, [], top=2, coverage=0.9, outsiders="energy", **ON_CPU)) == 0
    with pytest.warns(UserWarning, match=r"cannot be read: '.*notes.png'"):
        assert len(label_next(opened, asked, **ON_CPU)) == 2


@pytest.mark.parametrize("kind", ["mahalanobis", "energy"])
def test_pictures_of_nothing_known_are_told_from_own(opened, files, tmp_path, kind):
    random = torch.Generator().manual_seed(0)
    strange = []
    for i in range(40):
        strange.append(tmp_path / f"{i}.png")
        noise = torch.randint(0, 256, (32, 32), generator=random, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(strange[-1])
    own, other = (dq.classify(opened, those, outsiders=kind, **ON_CPU)["own"] for those in (files, strange))
    assert own.between(0, 1).all() and (own < 0.1).mean() < 0.3  # of other writers than those learned from
    assert (other.to_numpy()[:, None] < own.to_numpy()).mean() > 0.8


def test_a_new_picture_of_a_known_class_is_no_stranger_than_ones_own(place, tmp_path):
    """Judges turn to axes without the picture. Along axes that were fitted to it, too, it lies farther out."""
    data = dq.load(f"folder:{place / 'train'}", test=0.3, backbone="gradient-histograms")
    run = dq.fit("logit-adjustment", data, runs_dir=tmp_path, epochs=1, **QUIET)
    kept, _ = read_tensors(run.folder / TYPICAL)
    train, new = run.data.train, Typical(kept["means"], kept["root"]).distance(run.data.test.features)
    fold = fold_of(train.labels, 5, seed=run.seed)
    fitted, _ = seen_by_other_folds(lambda seen: train.features, train.labels, data.num_classes, fold)
    anew, as_they_are = (share_as_strange(new, own, train.labels).mean().item() for own in (kept["distance"], fitted))
    assert as_they_are > anew and 0.4 < anew < 0.6


def test_a_cache_emptied_before_the_end_costs_a_warning_and_no_training(place, tmp_path):
    data = dq.load(f"folder:{place}", backbone="gradient-histograms")
    shutil.rmtree(os.environ["DQROUTE_CACHE"])
    with pytest.warns(UserWarning, match="emptied or damaged meanwhile .* train again"):
        run = dq.fit("logit-adjustment", data, runs_dir=tmp_path, epochs=1, **QUIET)
    assert run.finished and (run.folder / TYPICAL).is_file()


def test_what_is_never_right_so_often_is_not_answered_and_said(opened, files, tmp_path):
    shutil.copytree(opened.folder, tmp_path / "run")
    kept, told = read_tensors(tmp_path / "run" / JUDGED)
    kept["labels"] = kept["logits"].float().mean(dim=0).argmin(dim=1)  # whatever was said, it was wrong
    write_tensors(tmp_path / "run" / JUDGED, kept, told)
    run = dq.Run(tmp_path / "run")
    with pytest.warns(UserWarning, match=r"answers of class 'digit 0', .* and 5 more are not right so often \(60%\)"):
        at = thresholds(run, precision=0.6)
    assert set(at.values()) == {1}
    assert not dq.classify(run, files, answer_at=at, **ON_CPU)["answered"].any()


def test_thresholds_are_met_on_new_pictures(opened, files):
    at = thresholds(opened, precision=0.98)
    table = dq.classify(opened, files, answer_at=at, **ON_CPU)
    right = table["class"] == [file.parent.name for file in files]
    answered = table["answered"]
    assert list(at) == opened.settings["class_names"] and 0.2 < answered.mean() < 1
    assert right[answered].mean() > 0.95 and right[answered].mean() > right.mean()
    half = thresholds(opened, answered=0.5)
    assert len(set(half.values())) == 1
    assert 0.35 < dq.classify(opened, files, answer_at=half, **ON_CPU)["answered"].mean() < 0.7
    assert thresholds(opened, answered=0.5, prevalence="training") != half


def test_what_is_said_out_of_fold_is_worked_out_once_a_run(opened, files, monkeypatch):
    first, expected = dq.Run(opened.folder), thresholds(opened, precision=0.9)
    assert thresholds(first, precision=0.9) == expected

    def settle(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr(type(first.model), "settle", settle)
    assert thresholds(first, precision=0.9) == expected
    by_class(first, split="out-of-fold"), dq.classify(first, files[:2], coverage=0.9, **ON_CPU)
    with pytest.raises(AssertionError, match="fitted again"):
        thresholds(dq.Run(opened.folder), precision=0.9)


def test_near_copies_that_judges_learned_from_are_remembered_and_said_once(place, opened, tmp_path):
    for file in sorted((place / "train").glob("*/*.png"))[::4]:
        for frame in range(2):
            copy = tmp_path / "bursts" / file.parent.name / f"{file.stem}-{frame}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.open(file).point(lambda v, dim=frame: v * (1 - dim / 8)).save(copy)
    data = dq.load(f"folder:{tmp_path / 'bursts'}", backbone="gradient-histograms", test=0)
    run = dq.fit("logit-adjustment", data, runs_dir=tmp_path / "runs", epochs=3, **QUIET)
    said = (
        rf"{run.provenance['near_copies']} of {len(run.judged['labels'])} training pictures were judged by heads that"
    )
    assert run.provenance["near_copies"] > len(data.train) / 2
    for asks in (
        lambda: thresholds(run, precision=0.5),
        lambda: by_class(run, split="out-of-fold"),
        lambda: dq.classify(run, [], coverage=0.9, **ON_CPU),
        lambda: dq.classify(run, [], outsiders="mahalanobis", **ON_CPU),
        lambda: suspect_labels(run),
    ):
        with pytest.warns(UserWarning, match=said + ".* load with group_by="):
            asks()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        thresholds(opened, answered=0.5), thresholds(run, answered=0.5), by_class(run, split="out-of-fold")
    assert [str(each.message)[: len(said)] for each in told].count(said) == len(told) == 1


def test_training_pictures_are_held_against_others_as_test_pictures_are(tmp_path):
    """Few pictures, turned to axes that were fitted to them, are less alike than one that was not is to them."""
    random = torch.Generator().manual_seed(0)
    scenes = torch.randn(60, 600, generator=random).repeat_interleave(4, dim=0)
    rows = scenes + 0.4 * torch.randn(scenes.shape, generator=random)
    train, test = rows[torch.arange(240) % 4 < 3], rows[3::4]
    axes = principal(lambda: [train], 256)
    split = FeatureSplit(projected(train, *axes), torch.arange(180) % 2, whole=lambda: [train])
    new, own = (F.normalize(projected(of, *axes), dim=1) for of in (test, train))
    of_test = ((new @ own.T).amax(dim=1) >= ALIKE).float().mean().item()
    run = SimpleNamespace(folder=tmp_path, settings={"class_names": ["a", "b"], "digest": ""})
    found = keep_typical(run, split, torch.arange(180) % 3)
    assert (own @ own.T - torch.eye(180)).max() < ALIKE
    assert of_test > 0.9 and found == 180


def test_what_is_asked_of_thresholds_is_one_thing(opened, trained):
    for asked in ({}, {"precision": 0.9, "answered": 0.5}):
        with pytest.raises(ValueError, match=r"precision=0.9, or how many to give, answered=0.8"):
            thresholds(opened, **asked)
    with pytest.raises(ValueError, match="unknown prevalence 'even'"):
        thresholds(opened, precision=0.9, prevalence="even")
    with pytest.raises(ValueError, match="has no predictions out of fold"):
        thresholds(trained[0], precision=0.9)


def test_runs_without_what_it_takes_say_so(opened, files, tmp_path):
    with pytest.raises(ValueError, match="unknown outsider score 'mahalanobi' .did you mean 'mahalanobis'"):
        dq.classify(opened, files, outsiders="mahalanobi", **ON_CPU)
    shutil.copytree(opened.folder, tmp_path / "run")
    (tmp_path / "run" / TYPICAL).unlink()
    with pytest.raises(ValueError, match="does not say what its training pictures look like"):
        dq.classify(dq.Run(tmp_path / "run"), files, outsiders="mahalanobis", **ON_CPU)


@pytest.mark.parametrize(
    ("file", "lost", "asks"),
    [
        (JUDGED, "fold", lambda run, files: out_of_fold(run, None)),
        (JUDGED, "images", lambda run, files: thresholds(run, precision=0.9)),
        (TYPICAL, "distance", lambda run, files: dq.classify(run, files[:1], outsiders="mahalanobis", **ON_CPU)),
    ],
)
def test_files_of_a_run_that_lack_something_say_what(opened, files, tmp_path, file, lost, asks):
    shutil.copytree(opened.folder, tmp_path / "run")
    kept, told = read_tensors(tmp_path / "run" / file)
    del kept[lost]
    write_tensors(tmp_path / "run" / file, kept, told)
    with pytest.raises(ValueError, match=f"{file} has no {lost}; restore it, or train in another runs_dir"):
        asks(dq.Run(tmp_path / "run"), files)


def test_a_class_that_nobody_judged_is_named(place, files, tmp_path):
    shutil.copytree(place, tmp_path / "digits")
    for file in sorted((tmp_path / "digits" / "train" / "digit 9").iterdir())[1:]:
        file.unlink()
    data = dq.load(f"folder:{tmp_path / 'digits'}", backbone="gradient-histograms")
    run = dq.fit("logit-adjustment", data, runs_dir=tmp_path / "runs", epochs=3, **QUIET)
    with pytest.warns(UserWarning, match="no picture of class 'digit 9' was judged out of fold"):
        table = dq.classify(run, files[:3], coverage=0.9, outsiders="mahalanobis", **ON_CPU)
    assert len(table) == 3
    nine = by_class(run, split="out-of-fold").set_index("class").loc["digit 9"]
    assert nine["images"] == 0 and (nine["low"], nine["high"]) == (0, 1)
    # What nobody could judge is not promised, whatever is asked, and the report says whom it judged.
    with pytest.warns(UserWarning, match="no picture of class 'digit 9' was judged .* its threshold is 1"):
        at = thresholds(run, precision=0.5)
    assert at["digit 9"] == 1 and sum(value < 1 for value in at.values()) >= 5
    report = dq.evaluate(run, split="out-of-fold")
    told = "no picture of 'digit 9' was judged; all means are over 9 of 10 classes"
    assert told in " ".join(str(report).split()) and told in report._repr_html_().replace("&#x27;", "'")
    assert f"On out-of-fold: {told}." in (run.folder / "card.md").read_text()
    assert "was judged" not in str(dq.evaluate(run, **ON_CPU))


def test_the_report_class_by_class_is_that_of_the_run_with_intervals(run):
    table = by_class(run, **ON_CPU)
    report = dq.evaluate(run, **ON_CPU)
    accuracy = table.set_index("class")["accuracy"].loc[list(run.data.class_names)]
    assert accuracy.tolist() == pytest.approx(report.per_class)
    assert table["accuracy"].is_monotonic_increasing
    assert ((table["low"] < table["accuracy"]) & (table["accuracy"] <= table["high"])).all()
    assert table["training images"].sum() == len(run.data.train) and (table["images"] == 20).all()
    wrong = confusions(run, most=1000, **ON_CPU)
    assert len(wrong) == round(200 * (1 - report.overall))
    worst = table.iloc[0]
    called = wrong.query("label == @worst['class'] and says == @worst['most often called']")
    assert len(called) == worst["times"] and called["so often"].iloc[0] == pytest.approx(len(called) / 20)
    assert all(f"/{label}/" in file for file, label in zip(wrong["file"], wrong["label"], strict=True))
    assert wrong["so often"].is_monotonic_decreasing and (wrong["says"] != wrong["label"]).all()


def test_out_of_fold_the_training_pictures_are_judged_and_bursts_widen_the_interval(place, run, opened, tmp_path):
    own = by_class(opened, split="out-of-fold").set_index("class")
    prediction, labels = out_of_fold(opened, None)
    assert own["images"].sum() == len(labels)
    assert (own["accuracy"] * own["images"]).sum() == pytest.approx((prediction.label == labels).sum().item())
    assert list(confusions(opened, split="out-of-fold").columns)[0] == "image"
    assert confusions(run, split="out-of-fold")["file"].str.startswith("train/").all()
    # Groups of about ten: what matches the first two of the three digits of a file's number.
    data = dq.load(f"folder:{place}", backbone="gradient-histograms", group_by=r"(?:train|test)/.*/\d\d")
    grouped = dq.fit("logit-adjustment", data, runs_dir=tmp_path, epochs=3, **QUIET)
    wide, narrow = (by_class(one, split="out-of-fold").set_index("class") for one in (grouped, opened))
    # Of test pictures too, there and in the report and the card.
    bursts, frames = (by_class(one, split="test", **ON_CPU).set_index("class").loc["digit 0"] for one in (grouped, run))
    assert bursts["images"] == frames["images"] and bursts["high"] - bursts["low"] > frames["high"] - frames["low"]
    report, card = dq.evaluate(grouped, **ON_CPU), (grouped.folder / "card.md").read_text()
    number = len({path.name[:2] for path in (place / "test" / "digit 0").iterdir()})
    assert 1 < report.independent[0] <= number and f"20 images in about {report.independent[0]:.0f} groups)" in card
    assert (
        "over groups of images that belong together" in " ".join(str(report).split())
        and report.said("balanced") in card
    )
    alone = dq.evaluate(run, **ON_CPU)
    assert alone.independent is None and alone.pictures == [20] * 10 and "20 images)" in alone.sure(0)
    low, high = wilson(torch.tensor(report.overall), torch.tensor(report.images))
    assert report.intervals["overall"][0] < low < high < report.intervals["overall"][1]
    assert (wide["high"] - wide["low"]).loc["digit 0"] > 1.2 * (narrow["high"] - narrow["low"]).loc["digit 0"]
    with pytest.raises(ValueError, match="unknown split 'train'"):
        by_class(run, split="train")


def test_a_run_may_be_given_by_its_folder_for_decisions_too(opened, files):
    for table_of in (by_class, confusions):
        assert table_of(opened.folder, split="out-of-fold").equals(table_of(opened, split="out-of-fold"))
    assert thresholds(str(opened.folder), answered=0.5) == thresholds(opened, answered=0.5)
    assert label_next(opened.folder, files[:4], **ON_CPU).equals(label_next(opened, files[:4], **ON_CPU))


def test_what_to_label_next_is_what_rare_classes_are_unsure_of_and_one_of_a_burst(opened, files, tmp_path):
    table = label_next(opened, files, most=8, **ON_CPU)
    assert list(table.columns) == ["file", "class", "probability", "class 2", "probability 2", "why"]
    assert len(table) == 8 and (table["probability"] >= table["probability 2"]).all()
    every = dq.classify(opened, files, top=2, **ON_CPU)
    gap = (table["probability"] - table["probability 2"]).mean()
    assert gap < 0.5 * (every["probability"] - every["probability 2"]).mean()
    first = table.iloc[0]
    assert f"{first['class']} or {first['class 2']}" in first["why"]
    counts = dict(zip(opened.settings["class_names"], opened.settings["problem"]["counts"], strict=True))
    assert table["class"].map(counts).mean() < every["class"].map(counts).mean()
    # The same picture again tells nothing more.
    burst = [tmp_path / f"{i}.png" for i in range(5)]
    for file in burst:
        shutil.copy(first["file"], file)
    again = label_next(opened, [*burst, *files], most=8, **ON_CPU)
    assert again["file"].isin(map(str, burst)).sum() == 1
    assert len(label_next(opened, [], **ON_CPU)) == 0
