"""Outsiders: the numbers by hand on made-up scores, and the whole on a trained run."""

from dataclasses import asdict, replace

import pytest
import torch

import dqroute as dq
from dqroute.data.disk import write_json
from dqroute.data.image_set import Split
from dqroute.runs import outsiders as module
from dqroute.runs.evaluate import separation
from dqroute.runs.outsiders import MEAN, ROUTED, OutsiderReport, abstentions, fingerprint, tell_outsiders


def test_separation_by_hand():
    """0.9 and 0.8 beat both outsiders, 0.6 the first, 0.2 none: five of eight pairs. To keep 95 % of four all four must
    stay, and both outsiders score above the least of them."""
    found = separation(torch.tensor([0.9, 0.8, 0.6, 0.2]), torch.tensor([0.3, 0.7]))
    assert found == {"auroc": pytest.approx(5 / 8), "fpr95": 1.0}
    assert separation(torch.tensor([0.9, 0.8]), torch.tensor([0.3])) == {"auroc": 1.0, "fpr95": 0.0}


def test_abstentions_by_hand():
    """At half the images the threshold is 0.8: of two answers one is right, and one outsider of four is let in."""
    inside, right = torch.tensor([0.2, 0.9, 0.8, 0.5]), torch.tensor([True, True, False, True])
    rows = abstentions(inside, right, torch.tensor([0.85, 0.6, 0.1, 0.3]))
    assert len(rows) == 20
    assert rows[9] == {"coverage": 0.5, "accuracy": 0.5, "outsiders": 0.25}
    assert rows[-1] == {"coverage": 1.0, "accuracy": 0.75, "outsiders": 0.75}
    for low, high in zip(rows, rows[1:], strict=False):
        assert low["coverage"] <= high["coverage"] and low["outsiders"] <= high["outsiders"]


def test_the_report_agrees_with_the_predictions_and_is_found_again(trained, tiny):
    run = trained[1]
    noise = torch.randint(256, (20, *tiny.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    outsiders = Split(noise, torch.zeros(20, dtype=torch.int64))
    try:
        report = tell_outsiders(run, outsiders, "noise", tiny)
        own, other = run.model.predict(tiny.test.images), run.model.predict(noise)
        assert report.scores[ROUTED] == pytest.approx(separation(own.probability, other.probability))
        mine = run.model.class_sets()[2][tiny.test.labels]
        known = separation(own.confidence[mine, 2], other.confidence[:, 2])
        assert report.scores["detector of expert 3"]["auroc"] == pytest.approx(known["auroc"], abs=1e-3)
        assert set(report.scores) == {
            ROUTED,
            MEAN,
            "energy of the mean",
            "detector of expert 2",
            "detector of expert 3",
        }
        assert report.abstention[ROUTED][-1]["accuracy"] == pytest.approx(dq.evaluate(run).overall)
        assert report.abstention[MEAN][-1]["accuracy"] == pytest.approx(dq.evaluate(run).plain_mean["overall"])
        assert (report.images, report.outsiders) == (len(tiny.test), 20)
        assert tell_outsiders(run, None, "noise") == report
        assert tell_outsiders(run, outsiders, "noise", tiny, split="val").images == len(tiny.val)
        assert tell_outsiders(run, None, "noise") == report
    finally:
        for split in ("test", "val"):
            (run.folder / f"outsiders-noise-{split}.json").unlink(missing_ok=True)


@pytest.fixture
def strangers(trained, tiny):
    """Two sets of noise, of one size; afterwards no report on them is left."""
    by_seed = torch.Generator().manual_seed(1)
    yield [
        Split(torch.randint(256, (6, *tiny.shape), dtype=torch.uint8, generator=by_seed), torch.zeros(6).long())
        for _ in range(2)
    ]
    (trained[1].folder / "outsiders-strangers-test.json").unlink(missing_ok=True)


def test_a_report_is_returned_for_its_own_pictures_only(trained, tiny, strangers, monkeypatch):
    run, (these, others) = trained[1], strangers
    report = tell_outsiders(run, these, "strangers", tiny)
    written = (run.folder / "outsiders-strangers-test.json").read_bytes()
    monkeypatch.setattr(module, "scores_of", lambda *_: pytest.fail("computed again"))
    assert tell_outsiders(run, these, "strangers", tiny) == report == tell_outsiders(run, None, "strangers")
    with pytest.raises(ValueError, match="is about other pictures.*another name"):
        tell_outsiders(run, others, "strangers", tiny)
    assert (run.folder / "outsiders-strangers-test.json").read_bytes() == written


def test_a_fingerprint_tells_pixels_and_sizes_apart():
    blank = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    same, wider = Split(blank, torch.zeros(4).long()), Split(blank.view(4, 1, 2, 8), torch.zeros(4).long())
    dotted = Split(blank.index_fill(3, torch.tensor([2]), 9), same.labels)
    assert fingerprint(same) == fingerprint(Split(blank.clone(), same.labels))
    assert len({fingerprint(split) for split in (same, wider, dotted)}) == 3


def test_a_report_that_is_not_there_is_named(trained):
    with pytest.raises(ValueError, match="no report on outsiders called 'cats'"):
        tell_outsiders(trained[1], None, "cats")


def test_other_data_are_refused_though_a_report_is_there(trained, tiny):
    other, report = replace(tiny, identity=tiny.identity | {"version": 7}), OutsiderReport(1, 1, {}, {})
    path = trained[1].folder / "outsiders-cats-test.json"
    write_json(path, asdict(report) | {"fingerprint": ""})
    try:
        assert tell_outsiders(trained[1], None, "cats", tiny) == report
        with pytest.raises(ValueError, match="is not the data of"):
            tell_outsiders(trained[1], None, "cats", other)
    finally:
        path.unlink()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden"])
def test_a_name_that_would_leave_the_folder_is_refused(trained, tiny, strangers, name):
    with pytest.raises(ValueError, match="part of a file's"):
        tell_outsiders(trained[1], strangers, name, tiny)
