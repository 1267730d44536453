"""Near copies by the cosine of features, by hand and on real pictures."""

from dataclasses import replace
from math import cos, radians, sin

import pytest
import torch
from photos import save_picture
from PIL import Image, ImageEnhance

import dqroute as dq
from dqroute.data import features, load, near_copies
from dqroute.data.alike import pairs_of
from dqroute.data.image_set import FeatureSplit, Split
from dqroute.runs.judged import warn_of_near_copies
from dqroute.runs.tables import partly_memory


@pytest.fixture
def set_of(tiny):
    """A set of these training and test features, of two classes by turns."""
    seen = replace(features(tiny, "gradient-histograms", progress=False, device="cpu"), val=None)

    def make(train, test):
        parts = {
            part: FeatureSplit(torch.tensor(rows), torch.arange(len(rows)) % 10)
            for part, rows in (("train", train), ("test", test))
        }
        return replace(seen, **parts)

    return make


def test_pairs_by_hand(set_of):
    """Directions in the plane; test picture 0 is 10 degrees from training picture 1, cos 10° = 0.985."""
    angles = [*range(0, 300, 30)], [40, 135]
    train, test = ([[2 * cos(radians(a)), 2 * sin(radians(a))] for a in part] for part in angles)
    found = near_copies(set_of(train, test))
    assert found.table.values.tolist() == [
        [0.9848, 1, "train", "1", 0, "test", "0"],
        [0.9659, 4, "train", "4", 1, "test", "1"],
        [0.9659, 5, "train", "5", 1, "test", "1"],
        [0.9397, 2, "train", "2", 0, "test", "0"],
    ]
    assert str(found).startswith("2 of 2 test pictures have a near copy (similarity 0.9 or more)")
    assert "partly memory" in found.leak and repr(found) == f"{found.leak}; the 4 pairs stand in .table"
    one = near_copies(set_of(train, test), least=0.97)
    assert len(one.table) == 1 and one.leak.startswith("1 of 2 test pictures")
    # The table is cut short, the leak is not.
    cut = near_copies(set_of(train, test), most=1)
    assert len(cut.table) == 1 and cut.leak == found.leak
    none = near_copies(set_of(train, test), least=0.99)
    assert none.table.empty and "no leak" in none.leak


@pytest.mark.parametrize("given", [None, "glyphs", object()], ids=["None", "name", "object"])
def test_what_is_no_set_is_answered_in_one_sentence(given):
    with pytest.raises(
        ValueError, match="in an image set; got .*: pass the set itself, .* run.data unless it was opened"
    ):
        near_copies(given)


def test_pieces_make_no_difference(monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=1)

    def pairs():
        return {(*pair, round(s, 4)) for found, numbers in pairs_of(rows, 0.5)
                for s, pair in zip(found.tolist(), numbers.tolist(), strict=True)}  # fmt: skip

    whole = pairs()
    monkeypatch.setattr("dqroute.data.alike.ROWS", 7)
    assert pairs() == whole and len(whole) > 20
    expected = (rows @ rows.T).triu(1) >= 0.5
    assert {pair[:2] for pair in whole} == {tuple(pair) for pair in expected.nonzero().tolist()}


def test_brighter_frames_of_test_pictures_are_found_in_training(tiny):
    brighter = (tiny.test.images[:10].float() * 0.95).to(torch.uint8)
    train = Split(torch.cat([tiny.train.images, brighter]), torch.cat([tiny.train.labels, tiny.test.labels[:10]]))
    data = replace(tiny, train=train, val=None)
    found = near_copies(features(data, "gradient-histograms", progress=False, device="cpu"), least=0.98)
    ours = found.table[(found.table["part"] == "train") & (found.table["image"] >= len(tiny.train))]
    assert set(range(10)) <= set(ours["other image"])


def test_files_are_named(photo_tree):
    found = near_copies(load(photo_tree, backbone="gradient-histograms"), least=0.3)
    assert list(found.table.columns)[:4] == ["similarity", "file", "part", "class"]
    assert found.table["file"].str.contains("picture").all() and found.table["similarity"].is_monotonic_decreasing


def test_pictures_of_ones_own_are_compared_by_the_features_that_fit_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("dqroute.data.feature_set.SHARPER", "gradient-histograms")
    for i in range(8):
        save_picture(tmp_path / "own" / ("ant", "bee")[i % 2] / f"{i}.png", seed=i)
    data = load(tmp_path / "own")
    own, seen = near_copies(data, least=0), near_copies(features(data, "gradient-histograms", progress=False), least=0)
    assert own.table.equals(seen.table) and len(own.table)


@pytest.mark.parametrize("pattern", [None, r"\d+_\d"])
def test_who_has_given_groups_is_not_told_to_give_them(tmp_path, capsys, pattern, runs_dir):
    for i in range(24):
        place = tmp_path / "own" / ("ant", "bee")[i % 2]
        seen = Image.fromarray(save_picture(place / f"{i}_0.png", seed=i))
        ImageEnhance.Brightness(seen).enhance(0.97).save(place / f"{i}_1.png")
    data = load(tmp_path / "own", backbone="gradient-histograms", group_by=pattern)
    said = capsys.readouterr().out
    hint = "they were loaded in groups, so that what is left may be a wrong label or group: dq.data.near_copies(data)"
    assert (hint in said, "load with group_by=" in said) == (pattern is not None, pattern is None)
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=2, progress=False, device="cpu")
    with pytest.warns(UserWarning, match="promises too much; " + ("they were loaded" if pattern else "if these are")):
        warn_of_near_copies(dq.Run(run.folder))


def test_a_leak_in_pictures_of_ones_own_is_said_whichever_way_they_become_features(tmp_path, capsys, runs_dir):
    """Each picture twice, a little brighter: on both sides of the division there are sisters."""
    for i in range(24):
        place = tmp_path / "own" / ("ant", "bee")[i % 2]
        seen = Image.fromarray(save_picture(place / f"{i}_0.png", seed=i))
        ImageEnhance.Brightness(seen).enhance(0.97).save(place / f"{i}_1.png")
    quick = {"runs_dir": runs_dir, "epochs": 2, "progress": False, "device": "cpu"}
    data, told = load(tmp_path / "own"), "have a near copy (similarity 0.9 or more) among the training pictures"
    run = dq.fit("logit-adjustment", data, backbone="gradient-histograms", **quick)
    assert capsys.readouterr().out.count(told) == 1
    seen = load(tmp_path / "own", backbone="gradient-histograms")
    assert capsys.readouterr().out.count(told) == 1
    dq.fit("logit-adjustment", seen, seed=1, **quick)
    assert told not in capsys.readouterr().out
    found, report = near_copies(seen).leaking["test"], dq.evaluate(run)
    said = f"{found} of the {len(data.test)} images have a near copy among those learned from"
    assert report.near == found > 0 and said in " ".join(str(report).split())
    assert partly_memory([run]) == f"{said}: partly memory"
    assert f"On test: {said}: partly memory." in (run.folder / "card.md").read_text()
    near, judged = run.near_copies
    assert dq.evaluate(run, split="out-of-fold").near == run.provenance["near_copies"] == near > 0
    apart = f"{near} of the {judged} images have a near copy among those learned from: partly memory"
    assert f"than out of fold, where {apart}" in " ".join(str(report).split()) and judged == len(data.train)
    assert f"beyond out of fold, where {apart}" in report._repr_html_()
    assert f"out of fold. Out of fold {apart}." in (run.folder / "card.md").read_text()
