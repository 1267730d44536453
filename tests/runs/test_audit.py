"""What a training says of its own pictures."""

import shutil
from dataclasses import replace

import pytest
import torch
from training import save_digits

import dqroute as dq
from dqroute.data import features, load
from dqroute.runs.audit import suspect_labels

QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def mislabelled():
    """Scanned digits of which six have a label that is not theirs; and which."""
    digits = load("digits", imbalance=5, seed=0)
    seen = features(digits, "gradient-histograms", **QUIET)
    labels = seen.train.labels.clone()
    wrong = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:6]
    labels[wrong] = (labels[wrong] + 5) % 10
    train = replace(seen.train, labels=labels, pictures=None)
    return replace(seen, train=train, identity=seen.identity | {"labels": "six wrong"}), wrong.tolist()


@pytest.mark.parametrize("method", ["dqroute", "logit-adjustment"])
def test_wrong_labels_are_suspected_first(mislabelled, runs_dir, method):
    data, wrong = mislabelled
    run = dq.fit(method, data, runs_dir=runs_dir, **QUIET)
    found = suspect_labels(run)
    assert list(found.columns) == ["image", "label", "says", "probability of label", "probability"]
    assert len(set(found["image"][:8]) & set(wrong)) >= 5
    assert found["image"].tolist() and (found["label"] != found["says"]).all() and (found["probability"] <= 1).all()
    assert len(suspect_labels(run, most=2)) == 2
    # Opened later, with the set beside it.
    again = suspect_labels(dq.Run(run.folder), data)
    assert list(again["image"]) == list(found["image"])


def test_detectors_that_read_features_are_given_them(mislabelled, runs_dir):
    data, wrong = mislabelled
    run = dq.fit("dqroute", data, detector="linear", fusion="nested", runs_dir=runs_dir, **QUIET)
    found = list(suspect_labels(run)["image"])
    assert found and found[0] in wrong
    with pytest.raises(ValueError, match="pass features="):
        suspect_labels(dq.Run(run.folder))


def test_files_are_named_where_they_are_known(tmp_path, runs_dir, tiny, capsys):
    for part, split in (("train", tiny.train), ("test", tiny.test)):
        save_digits(split, tmp_path / "digits" / part, "{}")
    shutil.copy(tmp_path / "digits" / "train" / "0" / "000.png", tmp_path / "digits" / "train" / "1" / "zero.png")
    with pytest.warns(UserWarning, match="stands in several classes"):
        data = load(f"folder:{tmp_path / 'digits'}", backbone="gradient-histograms")
    run = dq.fit("dqroute", data, runs_dir=runs_dir, **QUIET)
    found = suspect_labels(run, data)
    assert "train/1/zero.png" in list(found["file"])[:5]
    capsys.readouterr()
    alone = suspect_labels(dq.Run(run.folder))
    assert "dq.Run(FOLDER, data), or data= here, with their set, tells the files" in capsys.readouterr().out
    again = suspect_labels(dq.Run(run.folder, data))
    assert again.equals(found) and capsys.readouterr().out == ""
    assert [data.train.names[image] for image in alone["image"]] == list(found["file"])
    # Read into memory they keep their names.
    with pytest.warns(UserWarning, match="stands in several classes"):
        held = load(f"folder:{tmp_path / 'digits'}")
    run = dq.fit("dqroute", held, backbone="gradient-histograms", runs_dir=runs_dir, **QUIET)
    assert "train/1/zero.png" in list(suspect_labels(run, held)["file"])[:5]


def test_without_predictions_out_of_fold_the_remedy_is_named(trained):
    with pytest.raises(ValueError, match="has no predictions out of fold; train on features"):
        suspect_labels(trained[0])
