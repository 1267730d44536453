"""Going on from a run: a class more, pictures corrected, nothing computed twice, and nobody judges what it has seen."""

import shutil
from dataclasses import replace

import pytest
import torch
from training import QUICK, make_tiny, save_digits

import dqroute as dq
from dqroute.data import features
from dqroute.models.encoders import Encoder
from dqroute.training.loop import Training

HISTOGRAMS = "gradient-histograms"
METHOD = "logit-adjustment"
QUIET = {"progress": False, "device": "cpu"}
SOME = {"epochs": 4} | QUIET


@pytest.fixture
def pictures(tmp_path):
    return save_digits(make_tiny().train, tmp_path / "pictures", side=32, classes=range(8))


@pytest.fixture
def before(pictures, runs_dir):
    return dq.fit(METHOD, dq.load(pictures, test=0), backbone=HISTOGRAMS, runs_dir=runs_dir, epochs=15, **QUIET)


@pytest.fixture
def begun(monkeypatch):
    """The models of the trainings that begin, as they are before the first step."""
    states = []

    def note(training, *_, **__):
        states.append({name: value.clone() for name, value in training.model.state_dict().items()})
        return whole(training, *_, **__)

    whole = Training.to_the_end
    monkeypatch.setattr(Training, "to_the_end", note)
    return states


@pytest.fixture
def encoded(monkeypatch):
    """How many pictures went through an encoder."""
    number, forward = [], Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, batch: number.append(len(batch)) or forward(self, batch))
    return number


def test_a_class_more_begins_with_what_is_known_and_is_learned(before, pictures, runs_dir, begun, encoded):
    save_digits(make_tiny().train, pictures, side=32, classes=[8])
    new = len(list((pictures / "class 8").iterdir()))
    # A class that comes first in the order: rows go by name.
    (pictures / "class 8").rename(pictures / "a new class")
    data = dq.load(pictures, test=0)
    run = dq.fit(METHOD, data, start_from=before, runs_dir=runs_dir, epochs=15, **QUIET)
    assert sum(encoded) == new
    (start,) = begun
    old, fresh = before.model.state_dict(), run.new_model().state_dict()
    assert torch.equal(start["axes"], old["axes"]) and torch.equal(start["centre"], old["centre"])
    weight, was, drawn = (state["network.weight"].unflatten(1, (1, -1)) for state in (start, old, fresh))
    assert torch.equal(weight[-1, :, 1:], was[-1]) and torch.equal(weight[-1, :, :1], drawn[-1, :, :1])
    # Those who judge have seen none of the images that are in their fold now.
    assert torch.equal(weight[:-1], drawn[:-1])
    table = dq.classify(dq.Run(run.folder), pictures / "a new class")
    assert (table["class"] == "a new class").mean() > 0.5
    report = dq.evaluate(run)
    assert report.split == "out-of-fold" and report.per_class[0] > 0.3 and report.overall > 0.6


def test_going_on_is_a_run_of_its_own_and_is_found_again(before, pictures, runs_dir):
    data = dq.load(pictures, test=0)
    run = dq.fit(METHOD, data, start_from=str(before.folder), runs_dir=runs_dir, **SOME)
    assert run.folder != dq.fit(METHOD, data, backbone=HISTOGRAMS, runs_dir=runs_dir, **SOME).folder
    assert run.settings["start_from"]["digest"] == before.settings["digest"]
    assert dq.fit(METHOD, data, start_from=before, runs_dir=runs_dir, **SOME).folder == run.folder
    # From the run that went on: another parent, another run.
    assert dq.fit(METHOD, data, start_from=run, runs_dir=runs_dir, **SOME).folder != run.folder
    # The pictures themselves will do to evaluate it, by the axes that it went on with.
    assert dq.evaluate(dq.Run(run.folder), data).images == len(data.train)


@pytest.mark.parametrize("stream", [True, False])
def test_a_set_divided_anew_says_how_many_test_pictures_were_learned_from(pictures, runs_dir, capsys, recwarn, stream):
    def learned(run, data):
        return set(run.data.train.names) & set(data.test.names)

    first, again, third = (dq.load(pictures, seed=seed, stream=stream) for seed in (0, 1, 2))
    run = dq.fit(METHOD, first, backbone=HISTOGRAMS, runs_dir=runs_dir, **SOME)
    capsys.readouterr()
    same = dq.fit(METHOD, first, start_from=run, runs_dir=runs_dir, **SOME)
    assert "goes on from" in (said := capsys.readouterr().out) and "8 classes are kept\n" in said
    assert not [each for each in recwarn if "trained on" in str(each.message)]
    number, held = len(learned(run, again)), len(again.test)
    assert 0 < number < held
    told = rf"{number} of {held} test pictures are ones that .* was trained on.* what is measured on them is memory"
    with pytest.warns(UserWarning, match=told):
        dq.fit(METHOD, again, start_from=same, runs_dir=runs_dir, **SOME)
    # What a run began with it has learned from, too.
    with pytest.warns(UserWarning, match="test pictures are ones"):
        second = dq.fit(METHOD, again, start_from=run, runs_dir=runs_dir, **SOME)
    # The report says it beside the number, and so does the card.
    report = dq.evaluate(second)
    said = f"{number} of the {held} images were trained on, in this run or one before it"
    assert report.learned == number and said in " ".join(str(report).split()) and said in report._repr_html_()
    card = (second.folder / "card.md").read_text()
    assert f"On test: {said}: memory." in card
    assert f"- start_from: digest {run.settings['digest']}" in card
    assert dq.evaluate(run).learned == 0 and "start_from" not in (run.folder / "card.md").read_text()
    number = len(learned(run, third) | learned(second, third))
    with pytest.warns(UserWarning, match=f"{number} of {len(third.test)} pictures are ones"):
        assert dq.evaluate(second, third, split="test", other=True).learned == number
    assert number > max(len(learned(run, third)), len(learned(second, third)))
    with pytest.warns(UserWarning, match=rf"{number} of {len(third.test)} test pictures are ones"):
        dq.fit(METHOD, third, start_from=second, runs_dir=runs_dir, **SOME)


def test_a_class_more_and_the_same_pictures_are_tested_on(pictures, runs_dir, recwarn):
    run = dq.fit(METHOD, dq.load(pictures), backbone=HISTOGRAMS, runs_dir=runs_dir, **SOME)
    save_digits(make_tiny().train, pictures, side=32, classes=[8])
    (pictures / "class 8").rename(pictures / "a new class")
    data = dq.load(pictures)
    second = dq.fit(METHOD, data, start_from=run, runs_dir=runs_dir, **SOME)
    assert set(run.data.test.names) < set(data.test.names) and dq.evaluate(second).learned == 0
    assert not [each for each in recwarn if "trained on" in str(each.message)]


def test_classes_that_are_new_and_gone_are_named(before, pictures, runs_dir, capsys):
    (pictures / "class 0").rename(pictures / "class x")
    dq.fit(METHOD, dq.load(pictures, test=0), start_from=before, runs_dir=runs_dir, **SOME)
    assert "7 classes are kept; new: 'class x'; gone: 'class 0'" in capsys.readouterr().out


def test_a_corrected_label_costs_no_picture(before, pictures, runs_dir, encoded):
    wrong = sorted((pictures / "class 0").iterdir())[0]
    shutil.move(wrong, pictures / "class 7" / wrong.name)
    run = dq.fit(METHOD, dq.load(pictures, test=0), start_from=before, runs_dir=runs_dir, **SOME)
    assert not encoded and run.settings["problem"]["counts"] == [39, *before.settings["problem"]["counts"][1:7], 7]


def test_options_of_the_run_are_gone_on_with(pictures, runs_dir):
    data = dq.load(pictures, test=0)
    first = dq.fit("ride", data, backbone=HISTOGRAMS, experts=2, classifier="linear", runs_dir=runs_dir, **SOME)
    run = dq.fit("ride", data, start_from=first, runs_dir=runs_dir, **SOME)
    assert run.settings["options"] == first.settings["options"]
    with pytest.raises(ValueError, match="another kind of network"):
        dq.fit("ride", data, start_from=first, experts=3, runs_dir=runs_dir, **SOME)


def without_nine():
    """The tiny set without the digit 9."""
    tiny = make_tiny()
    parts = {
        part: split.at((split.labels < 9).nonzero()[:, 0]) for part, split in tiny.splits.items() if split is not None
    }
    groups = replace(tiny.groups, few=tuple(c for c in tiny.groups.few if c < 9))
    names = tiny.class_names[:9]
    return replace(tiny, class_names=names, groups=groups, identity=tiny.identity | {"without": 9}, **parts)


@pytest.mark.parametrize("method", ["cross-entropy", "dqroute"])
def test_end_to_end_trunk_and_known_rows_are_kept(method, tiny, runs_dir, begun):
    first = dq.fit(method, without_nine(), epochs=2, runs_dir=runs_dir, **QUICK)
    run = dq.fit(method, tiny, epochs=1, start_from=first, runs_dir=runs_dir, batch_size=64, **QUIET)
    old, start = first.model.state_dict(), begun[-1]
    assert torch.equal(start["mean"], old["mean"])
    for name, value in old.items():
        if name.startswith(("network.trunk", "network.branches")):
            assert torch.equal(start[name], value), name
        elif name.startswith("network.classifiers"):
            assert torch.equal(start[name][:9], value) and not torch.equal(start[name][9:], value[:1]), name
    assert run.model.predict(tiny.test.images).probabilities.shape == (200, 10)


def test_what_cannot_be_gone_on_from(before, pictures, runs_dir, tiny, tmp_path):
    data = dq.load(pictures, test=0)
    for arguments, said in {
        ("ride", before): "of the method logit-adjustment, and not of ride",
        (METHOD, 3): "a run or its folder; got 3",
    }.items():
        with pytest.raises(ValueError, match=said):
            dq.fit(arguments[0], data, start_from=arguments[1], runs_dir=runs_dir, **QUIET)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        dq.fit(METHOD, data, start_from=tmp_path / "nothing", runs_dir=runs_dir, **QUIET)
    with pytest.raises(ValueError, match="leave backbone out, or start_from"):
        dq.fit(METHOD, data, start_from=before, backbone="resnet8", runs_dir=runs_dir, **QUIET)
    with pytest.raises(ValueError, match="knows none of these classes"):
        dq.fit(METHOD, tiny, start_from=before, runs_dir=runs_dir, **QUIET)
    named = replace(tiny, class_names=tuple(f"class {c}" for c in range(10)))
    with pytest.raises(ValueError, match="by axes of its own"):
        dq.fit(METHOD, features(named, HISTOGRAMS, **QUIET), start_from=before, runs_dir=runs_dir, **QUIET)
    unfinished = dq.Run(shutil.copytree(before.folder, tmp_path / "unfinished"))
    unfinished.weights_file.unlink()
    with pytest.raises(FileNotFoundError, match="has no weights"):
        dq.fit(METHOD, data, start_from=unfinished, runs_dir=runs_dir, **QUIET)
    (unfinished.folder / "provenance.json").unlink()
    with pytest.raises(ValueError, match="finish it first"):
        dq.fit(METHOD, data, start_from=unfinished, runs_dir=runs_dir, **QUIET)


def test_reproduce_says_that_it_wants_the_run_gone_on_from(before, pictures, runs_dir, capsys):
    from dqroute.training import reproduce

    run = dq.fit(METHOD, dq.load(pictures, test=0), start_from=before, runs_dir=runs_dir, **SOME)
    with pytest.raises(SystemExit):
        reproduce.main([str(run.folder), f"folder:{pictures}"])
    assert f"went on from the run {before.settings['digest']}" in capsys.readouterr().err
