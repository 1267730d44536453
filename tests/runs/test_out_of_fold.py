"""All pictures trained on, none held out: judged by who never saw them, fusion and calibration included."""

import pytest
import torch
from training import make_tiny, save_digits

import dqroute as dq
from dqroute.data import features
from dqroute.runs.audit import suspect_labels
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.judged import out_of_fold
from dqroute.runs.published import publish
from dqroute.runs.tables import by_seed
from dqroute.runs.worlds import worlds_of
from dqroute.training import reproduce

HISTOGRAMS = "gradient-histograms"
QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def pictures(tmp_path):
    """Class folders of scanned digits."""
    return save_digits(make_tiny().train, tmp_path / "pictures", side=32)


def test_a_folder_that_holds_nothing_out_is_reported_out_of_fold(pictures, runs_dir, capsys, tmp_path):
    data = dq.load(pictures, test=0, stream=True)
    number = len(list(pictures.rglob("*.png")))
    assert data.test is None and list(data.splits) == ["train"] and len(data.train) == number
    assert (
        data.identity["test"] == 0
        and f"none of the {number} pictures is held out for testing (test=0)" in capsys.readouterr().out
    )
    assert repr(data).endswith(f"10 classes; {number} for train>")
    run = dq.fit("logit-adjustment", data, backbone=HISTOGRAMS, runs_dir=runs_dir, epochs=15, **QUIET)
    report = dq.evaluate(run)
    assert "has no test images: this is out of fold" in capsys.readouterr().out
    assert report.split == "out-of-fold" and report.images == number and 0.5 < report.balanced < 1
    said = " ".join(str(report).split())
    assert f"out-of-fold, {number} images, unbalanced (its largest class has 10 times its smallest)" in said
    # Cross-entropy and the like say the mean of their logits, as they do of test images.
    judged = run.judged
    right = judged["logits"].mean(dim=0).argmax(dim=1) == judged["labels"]
    assert report.overall == pytest.approx(right.double().mean().item(), abs=1e-6)
    by_hand = [right[judged["labels"] == c].double().mean().item() for c in range(10)]
    assert report.per_class == pytest.approx(by_hand)
    assert report.worst is not None and report.harmonic is not None and report.calibration["overall"] is not None
    # Opened later there is nothing more to be had; tables and published files have it where others have the test.
    again = dq.Run(run.folder)
    assert again.report() == report and dq.evaluate(again) == report
    assert by_seed([again], "test")[run.method]["overall"].item() == pytest.approx(100 * report.overall)
    (line,) = publish([again], tmp_path / "table.jsonl")
    assert line.report() == report
    assert set(suspect_labels(again, data)["file"]) <= set(data.train.names)
    assert dq.classify(again, pictures)["problem"].eq("").all()
    for other in (trade_off_of, worlds_of):
        with pytest.raises(ValueError, match=r"loaded without test images.*load it with test=0\.2"):
            other(run)


def test_a_table_and_a_validation_split(pictures, runs_dir):
    rows = [f"{file.relative_to(pictures)},{file.parent.name}" for file in sorted(pictures.rglob("*.png"))]
    (pictures / "all.csv").write_text("\n".join(["path,label", *rows]))
    data = dq.load(pictures / "all.csv", test=0, val=0.2, backbone=HISTOGRAMS)
    assert data.test is None and len(data.train) + len(data.val) == len(rows)
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=4, **QUIET)
    assert dq.evaluate(run).split == "out-of-fold" and dq.evaluate(run, split="val").split == "val"


def test_a_run_with_test_images_has_both(tiny, runs_dir):
    run = dq.fit("dqroute", features(tiny, HISTOGRAMS, **QUIET), runs_dir=runs_dir, epochs=4, **QUIET)
    test, honest = dq.evaluate(run), dq.evaluate(dq.Run(run.folder), split="out-of-fold")
    assert (test.split, honest.split) == ("test", "out-of-fold") and honest.images == len(tiny.train)
    assert run.report() == test and set(reproduce.results(run)) >= {"test few", "out-of-fold few"}


def test_what_is_fitted_on_predictions_never_saw_whom_it_is_asked_of(tiny, runs_dir):
    """Other labels for the images of one fold change nothing of what is said of them; of others it does."""
    run = dq.fit("dqroute", features(tiny, HISTOGRAMS, **QUIET), runs_dir=runs_dir, epochs=4, **QUIET)
    before, labels = out_of_fold(run, None)
    first = run.judged["fold"] == 0
    other = dq.Run(run.folder)
    other.judged["labels"][first] = labels[first].flip(0)
    after, _ = out_of_fold(other, None)
    assert torch.equal(before.probabilities[first], after.probabilities[first])
    assert not torch.allclose(before.probabilities[~first], after.probabilities[~first], atol=1e-3)
    # The run's own model is as it was.
    assert torch.equal(other.model.criterion.rings.bias, dq.Run(run.folder).model.criterion.rings.bias)


def test_detectors_that_read_features_want_the_images(tiny, runs_dir):
    data = features(tiny, HISTOGRAMS, **QUIET)
    options = {"fusion": "nested", "detector": "linear", "epochs": 2}
    run = dq.fit("dqroute", data, runs_dir=runs_dir, **options, **QUIET)
    with pytest.raises(ValueError, match="pass features="):
        dq.evaluate(dq.Run(run.folder), split="out-of-fold")
    assert dq.evaluate(run, split="out-of-fold").detectors


def test_without_predictions_out_of_fold_the_remedy_is_named(trained):
    with pytest.raises(ValueError, match="no predictions out of fold; train on features"):
        dq.evaluate(trained[0], split="out-of-fold")
    with pytest.raises(ValueError, match="unknown split 'train'"):
        dq.evaluate(trained[0], split="train")
