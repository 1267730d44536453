"""Training on features: every method, judged by who never saw the image, found again, and put to work on pictures."""

import json
import re
from dataclasses import replace

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from training import make_tiny

import dqroute as dq
from dqroute.core.judging import fold_of
from dqroute.data import FeatureSplit, features
from dqroute.methods.base import METHODS
from dqroute.models.heads import Heads
from dqroute.runs.by_class import by_class
from dqroute.runs.decisions import thresholds
from dqroute.runs.run import JUDGED
from dqroute.training.loop import Training

HISTOGRAMS = "gradient-histograms"
QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def seen(tiny):
    return features(tiny, HISTOGRAMS, **QUIET)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_trains_on_features_and_tells_what_is_memorised(method, seen, runs_dir):
    run = dq.fit(method, seen, runs_dir=runs_dir, epochs=15, **QUIET)
    report = dq.evaluate(run)
    assert report.overall > 0.3 and report.calibrated["overall"] > 0.3
    assert run.provenance["training_accuracy"] > 0.5
    published = method == "dqroute-published"
    assert run.provenance["judge"] == ("training" if published else "out-of-fold")
    assert f"memorised: {100 * report.memorised:.0f} points" in str(report)
    # Opened from its folder, it says the same of the pictures themselves.
    again = dq.Run(run.folder).model.predict(seen.test.images)
    torch.testing.assert_close(again.probabilities, run.model.predict(seen.test).probabilities, atol=1e-3, rtol=0)


def test_backbone_in_fit_is_the_same_as_a_set_of_features(tiny, seen, runs_dir):
    run = dq.fit("logit-adjustment", tiny, backbone=HISTOGRAMS, epochs=2, runs_dir=runs_dir, **QUIET)
    assert dq.fit("logit-adjustment", seen, epochs=2, runs_dir=runs_dir, **QUIET).folder == run.folder
    assert isinstance(run.data.train, FeatureSplit)
    # And the pictures will do to evaluate it.
    assert dq.evaluate(dq.Run(run.folder), tiny).images == len(tiny.test)


@pytest.mark.parametrize(
    ("method", "option", "said"),
    [
        ("dqroute", {"alpha": "viel"}, r"alpha must be a number \(not text\).*; got 'viel'"),
        ("dqroute", {"fusion": "ring"}, "did you mean 'rings'"),
        ("logit-adjustment", {"tau": "1"}, "tau must be a number"),
    ],
)
def test_options_that_the_method_refuses_are_heard_before_features_are_computed(
    tiny, runs_dir, monkeypatch, method, option, said
):
    def computed(*_, **__):
        raise AssertionError("features were computed")

    monkeypatch.setattr("dqroute.training.fit.features", computed)
    with pytest.raises(ValueError, match=said):
        dq.fit(method, tiny, backbone=HISTOGRAMS, runs_dir=runs_dir, **option, **QUIET)
    with pytest.raises(AssertionError, match="features were computed"):
        dq.fit(method, tiny, backbone=HISTOGRAMS, runs_dir=runs_dir, **QUIET)


def test_options_are_refused_or_taken_together_with_those_of_the_run_that_is_gone_on_from(tiny, runs_dir):
    few = {"backbone": HISTOGRAMS, "runs_dir": runs_dir, "epochs": 1} | QUIET
    parent = dq.fit("dqroute", tiny, fusion="restricted", outsiders=0.0, **few)
    del few["backbone"]
    run = dq.fit("dqroute", tiny, start_from=parent, outsiders=0.0, alpha=0.2, **few)
    assert run.settings["options"]["fusion"] == "restricted"


def test_a_set_whose_identity_has_no_name_is_trained_on_and_reported(runs_dir):
    data = replace(dq.load("digits"), name="mine", identity={"drawn": 1})
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, backbone="resnet8", epochs=1, **QUIET)
    assert dq.evaluate(run, device="cpu").overall > 0


def test_who_judges_an_image_never_saw_it(seen, runs_dir, monkeypatch):
    """Another label for the images of one fold changes nothing of what is said of them; others' words do change."""
    fold = fold_of(seen.train.labels, 5, seed=0)
    monkeypatch.setattr("dqroute.training.loop.fold_of", lambda *_, **__: fold)
    labels = seen.train.labels.clone()
    first = fold == 0
    labels[first] = labels[first].flip(0)
    others = replace(seen, train=replace(seen.train, labels=labels), identity=seen.identity | {"labels": "mixed up"})
    heads = []
    for data in (seen, others):
        run = dq.fit("cross-entropy", data, runs_dir=runs_dir, folds=5, epochs=8, **QUIET)
        heads.append(run.model.network.of_sets(seen.train.features)[first])
    torch.testing.assert_close(heads[0][:, 0], heads[1][:, 0])
    assert (heads[0][:, 5] - heads[1][:, 5]).abs().max() > 1


def test_difficulty_is_judged_out_of_fold(seen, runs_dir):
    """Images with random labels: learned by heart they look easy, out of fold nobody can guess them."""
    generator = torch.Generator().manual_seed(0)
    labels, noise = seen.train.labels.clone(), seen.train.features.clone()
    hard = labels < 2
    noise[hard] = torch.randn(int(hard.sum()), noise.shape[1], generator=generator) * noise.std()
    data = replace(seen, train=replace(seen.train, features=noise), identity=seen.identity | {"noise": 1})
    difficulty = {}
    for judge in ("out-of-fold", "training"):
        run = dq.fit("dqroute", data, judge=judge, runs_dir=runs_dir, epochs=30, **QUIET)
        difficulty[judge] = torch.tensor(run.epochs[-1]["difficulty"])
    apart = {judge: (d[:2].mean() - d[2:6].mean()).item() for judge, d in difficulty.items()}
    assert apart["out-of-fold"] > apart["training"] + 0.2 and apart["out-of-fold"] > 0.3


def test_what_was_said_out_of_fold_is_left_in_the_run_folder(seen, runs_dir):
    from dqroute.data.disk import read_tensors

    run = dq.fit("dqroute", seen, runs_dir=runs_dir, epochs=3, **QUIET)
    kept, _ = read_tensors(run.folder / JUDGED)
    assert kept["logits"].shape == (4, len(seen.train), 10) and kept["labels"].equal(seen.train.labels)
    right = (kept["logits"].float().mean(dim=0).argmax(dim=1) == kept["labels"]).float().mean()
    assert right.item() == pytest.approx(run.provenance["out_of_fold_accuracy"], abs=0.02)


def test_a_class_of_one_image_trains_and_is_left_out_of_the_judging(seen, runs_dir):
    keep = torch.cat([(seen.train.labels != 9).nonzero()[:, 0], (seen.train.labels == 9).nonzero()[:1, 0]])
    data = replace(seen, train=seen.train.at(keep.sort().values), identity=seen.identity | {"of nine": 1})
    run = dq.fit("dqroute", data, runs_dir=runs_dir, epochs=3, **QUIET)
    assert run.provenance["not_judged"] == 1
    assert dq.evaluate(run).per_class[9] is not None


@pytest.mark.parametrize("steps", [1, 7, 15])
def test_a_training_cut_off_goes_on_to_the_last_bit(seen, runs_dir, tmp_path, monkeypatch, steps):
    whole = dq.fit("dqroute", seen, runs_dir=tmp_path / "whole", epochs=4, **QUIET)
    step, done = Training.step, []

    def failing(self, *arguments):
        done.append(1)
        if len(done) > steps:
            raise RuntimeError("the machine went away")
        return step(self, *arguments)

    monkeypatch.setattr(Training, "step", failing)
    with pytest.raises(RuntimeError, match="went away"):
        dq.fit("dqroute", seen, runs_dir=runs_dir, epochs=4, checkpoint_minutes=0, **QUIET)
    monkeypatch.undo()
    resumed = dq.fit("dqroute", seen, runs_dir=runs_dir, epochs=4, **QUIET)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_files_are_named_by_a_model_behind_an_encoder(seen, runs_dir, tmp_path):
    run = dq.fit("dqroute", seen, runs_dir=runs_dir, epochs=15, **QUIET)
    files = []
    for index in range(0, 200, 5):
        files.append(tmp_path / f"{index}.png")
        pixels = seen.test.images[index].expand(3, -1, -1).permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).resize((64, 64)).save(files[-1])
    files.append(tmp_path / "none.png")
    table = dq.classify(dq.Run(run.folder), files)
    truth = [str(seen.test.labels[index].item()) for index in range(0, 200, 5)]
    assert (table["class"][:-1] == truth).mean() > 0.6 and table["problem"].iloc[-1]
    with pytest.warns(UserWarning, match="^3 images .* points only: nothing is adapted; about"):
        unsure = dq.classify(dq.Run(run.folder), files[:3], adapt=True)
    assert unsure["probability"].tolist() == pytest.approx(table["probability"][:3].tolist())
    assert dq.explain(run, seen.test.images[0]).experts[3].classes == 10
    assert dq.nearest(run, seen.test.images[:2], seen.train, k=3).indices.shape == (2, 3)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_switched_off_it_trains_all_the_same(tiny, runs_dir, off):
    run = dq.fit("dqroute", tiny, backbone=HISTOGRAMS, runs_dir=runs_dir / "plain", epochs=2, **QUIET)
    with off():
        # Tensors of the set, too, are such as want no gradient then.
        data = make_tiny()
        other = dq.fit("dqroute", data, backbone=HISTOGRAMS, runs_dir=runs_dir / "off", epochs=2, **QUIET)
        other.model.predict(data.test.images[:2])
        said = [dq.evaluate(other, split=split) for split in ("test", "out-of-fold")]
    assert other.folder.name == run.folder.name
    assert said == [dq.evaluate(run, split=split) for split in ("test", "out-of-fold")]
    assert run.model.network.weight.equal(other.model.network.weight)


def test_a_place_that_cannot_be_written_is_named_before_features_are_computed(tiny, tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("no folder")
    monkeypatch.setenv("DQROUTE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OSError, match=r"cannot write .*runs/tiny \(Not a directory\); choose another runs_dir$"):
        dq.fit("dqroute", tiny, backbone=HISTOGRAMS, runs_dir=tmp_path / "runs", **QUIET)
    assert not (tmp_path / "cache").exists()


def test_a_model_adapts_to_where_it_is_used_and_comes_back(seen, runs_dir):
    run = dq.fit("dqroute", seen, runs_dir=runs_dir, **QUIET)
    rare = (seen.test.labels >= 7).nonzero()[:, 0]
    world = torch.cat([rare, rare, rare, (seen.test.labels < 7).nonzero()[::14, 0]])
    images, labels = seen.test.features[world], seen.test.labels[world]
    before = run.model.predict(images)
    shares = run.model.adapt(images)
    assert shares.sure and shares.share[2] > 0.6
    after = run.model.predict(images)
    assert (after.label == labels).float().mean() >= (before.label == labels).float().mean()
    run.model.adapt(None)
    assert torch.equal(run.model.predict(images).probabilities, before.probabilities)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"backbone": "resnet8"}, "backbone is settled in a set of features"),
        ({"backbone": "efficientnet-lite0"}, "is a set of features of gradient-histograms"),
        ({"folds": 1}, "folds must be 2 or more, or 0"),
        ({"folds": 100}, "80 training images cannot be divided into 100 folds; use folds=2"),
        ({"judge": "out-of-fold", "folds": 0}, "needs folds"),
        ({"judge": "myself"}, "unknown judge 'myself'"),
        ({"fusion": "nested", "gaussian": True}, "wants fusion='rings'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(asked, said, seen, runs_dir):
    small = replace(seen, train=seen.train.at(torch.arange(0, len(seen.train), 2)))
    with pytest.raises(ValueError, match=said):
        dq.fit("dqroute", small, runs_dir=runs_dir, **asked, **QUIET)


@pytest.mark.parametrize("asked", [{"folds": 5}, {"judge": "out-of-fold"}, {"gaussian": True}])
def test_end_to_end_there_are_no_folds(asked, tiny, runs_dir):
    with pytest.raises(ValueError, match="features"):
        dq.fit("dqroute", tiny, runs_dir=runs_dir, **asked, **QUIET)


def test_without_folds_all_judging_is_by_training_images(seen, runs_dir):
    run = dq.fit("dqroute", seen, folds=0, epochs=3, runs_dir=runs_dir, **QUIET)
    assert isinstance(run.model.network, Heads) and run.model.network.folds == 0
    assert run.provenance["judge"] == "training" and not (run.folder / JUDGED).exists()


def test_other_weights_of_the_encoder_are_refused(seen, runs_dir):
    run = dq.fit("cross-entropy", seen, epochs=1, runs_dir=runs_dir, **QUIET)
    file = run.folder / "settings.json"
    settings = json.loads(file.read_text())
    settings["problem"]["encoder"]["weights"] = "0" * 64
    file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="weights of gradient-histograms here are not those"):
        dq.Run(run.folder).model.predict(seen.test.images[:1])


def test_features_that_are_no_numbers_are_refused(seen):
    damaged = seen.train.features.clone()
    damaged[3, 4] = torch.nan
    with pytest.raises(ValueError, match="train features must be finite"):
        replace(seen, train=replace(seen.train, features=damaged))


def test_a_run_on_features_is_reproduced_from_what_it_tells(runs_dir, tmp_path, capsys):
    from dqroute.training.reproduce import main

    data = dq.load("digits", imbalance=10, backbone=HISTOGRAMS)
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=2, **QUIET)
    dq.evaluate(run)
    assert main([str(run.folder), "digits", "--runs-dir", str(tmp_path / "again")]) == 0
    told = capsys.readouterr().out
    assert told.startswith("identical: all") and "in every digit that is there; and so are the weights" in told


def test_pictures_in_files_are_seen_as_their_features_were(tmp_path, runs_dir):
    """By the encoder's own interpolation, whether features, a split or single files are asked about."""
    generator = torch.Generator().manual_seed(0)
    for part, each in (("train", 14), ("test", 4)):
        for c, name in enumerate(("ant", "bee", "cow")):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for number in range(each):
                pixels = torch.randint(0, 256, (9 + 8 * c, 50, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(tmp_path / "set" / part / name / f"{number}.png")
    data = dq.load(f"folder:{tmp_path / 'set'}", backbone=HISTOGRAMS, groups="thirds")
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=3, **QUIET)
    said = run.model.predict(data.test).probabilities
    by_split = run.model.predict(data.test.pictures).probabilities
    files = [data.test.pictures.file(index) for index in range(len(data.test))]
    by_file = torch.tensor(dq.classify(run, iter(files))["probability"].tolist())
    torch.testing.assert_close(by_split, said, atol=2e-3, rtol=0)
    torch.testing.assert_close(by_file, said.max(dim=1).values, atol=2e-3, rtol=0)


def test_another_backbone_than_the_sets_own_is_refused(seen):
    with pytest.raises(ValueError, match="of features of efficientnet-lite0, and not of 'gradient-histograms'"):
        dq.load("photographs", backbone=HISTOGRAMS)
    with pytest.raises(ValueError, match="a backbone is named, as in backbone='efficientnet-lite0'; got 3"):
        dq.load("digits", backbone=3)


def test_told_the_truth_the_tracker_says_what_the_data_set_knows(seen, runs_dir):
    error = torch.linspace(0.1, 0.5, 10, dtype=torch.float64)
    knows = replace(seen, true_difficulty=error, identity=seen.identity | {"knows": True})
    run = dq.fit("dqroute", knows, judge="truth", runs_dir=runs_dir, epochs=3, **QUIET)
    assert run.epochs[-1]["difficulty"] == pytest.approx((2 * error / 0.5).tolist(), rel=1e-4)
    assert run.provenance["judge"] == "out-of-fold"  # all but the difficulty
    assert dq.Run(run.folder).model.told is not None
    with pytest.raises(ValueError, match="wants a set that knows how hard its classes are"):
        dq.fit("dqroute", seen, judge="truth", runs_dir=runs_dir, epochs=3, **QUIET)


def test_a_gaussian_trains_nothing_and_is_a_run_like_any_other(seen, runs_dir):
    run = dq.fit("gaussian", seen, runs_dir=runs_dir, **QUIET)
    assert run.finished and run.epochs == [] and run.seconds == 0
    assert dq.fit("gaussian", seen, runs_dir=runs_dir, **QUIET).folder == run.folder
    assert dq.fit("gaussian", seen, runs_dir=runs_dir, ridge=1.0, **QUIET).folder != run.folder


def test_pictures_of_ones_own_start_from_the_bundled_network(seen, tmp_path, runs_dir, capsys, monkeypatch):
    """Unless anything else is asked for; other sets do not."""
    monkeypatch.setattr("dqroute.data.feature_set.SHARPER", HISTOGRAMS)
    for i in range(12):
        place = tmp_path / "pets" / ("ant", "bee")[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (16, 16, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place)
    data = dq.load(tmp_path / "pets", size=16)
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=1, **QUIET)
    said = capsys.readouterr().out.partition("pets: 10 pictures of one's own start from a pretrained network")[2]
    assert re.search(r"their features take about \d+ seconds? here;", said) and "\n  heads learn for 1 epochs\n" in said
    assert dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=1, **QUIET).folder == run.folder
    again = capsys.readouterr().out
    assert f"pets: found finished: {run.folder}\n" in again and "heads learn" not in again
    assert "from nothing," not in said
    assert isinstance(run.model.network, Heads) and dq.evaluate(run).images == 2
    # Of many pictures half the time counts for more than the larger size.
    monkeypatch.setattr("dqroute.data.feature_set.FEW", 9)
    monkeypatch.setattr("dqroute.data.feature_set.BUNDLED", "gradient-histograms, smaller")
    with pytest.raises(ValueError, match="gradient-histograms, smaller"):
        dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=1, **QUIET)
    monkeypatch.undo()
    scratch = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=1, backbone="resnet8", **QUIET)
    assert not isinstance(scratch.model.network, Heads)
    assert "pets: resnet8 is trained from nothing, which wants very many pictures; " in capsys.readouterr().out
    # What is wrong with the settings is heard before anything is promised or computed.
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet-50' \(did you mean 'resnet50'\?\)"):
        dq.fit("logit-adjustment", data, runs_dir=runs_dir, backbone="resnet-50", **QUIET)
    for wrong in ({"epochs": "five"}, {"epochs": 0}, {"lr": -1}, {"epoch": 3}, {"seed": 0.5}):
        for more in ({}, {"backbone": HISTOGRAMS}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                dq.fit("logit-adjustment", data, runs_dir=runs_dir, **wrong | more | QUIET)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="10 training images cannot be divided into 20 folds; use folds=2, say, or"):
        dq.fit("logit-adjustment", data, runs_dir=runs_dir, folds=20, backbone=HISTOGRAMS, **QUIET)


def test_a_network_of_torchvision_from_nothing_is_said_with_the_one_that_is_not(tmp_path, runs_dir, capsys):
    for i in range(12):
        place = tmp_path / "pets" / ("ant", "bee")[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place)
    data = dq.load(tmp_path / "pets", size=8)
    capsys.readouterr()
    asked = {"backbone": "resnet18", "epochs": 1, "precision": "fp32", "runs_dir": runs_dir} | QUIET
    dq.fit("cross-entropy", data, **asked)
    said = capsys.readouterr().out
    assert "resnet18 is trained from nothing" in said and "backbone='torchvision:resnet18' is it pretrained" in said
    weights = tmp_path / "resnet18.safetensors"
    save_file(torchvision.models.resnet18().state_dict(), weights)
    dq.fit("cross-entropy", data, pretrained=weights, **asked)
    assert "from nothing" not in capsys.readouterr().out


def test_cameras_with_classes_of_their_own_leave_the_others_judged(seen, runs_dir, capsys):
    """Class 8 is seen by one of six cameras alone: it is not judged, and all else is, by heads without that camera."""
    camera, labels = torch.arange(len(seen.train)) % 6, seen.train.labels
    camera[labels == 8] = 0
    data = replace(seen, together=camera, identity=seen.identity | {"group_by": "cam"})
    run = dq.fit("dqroute", data, runs_dir=runs_dir, epochs=8, **QUIET)
    said = capsys.readouterr().out
    number = int((labels != 8).sum())
    assert f"tiny: {number} of {len(labels)} training pictures are judged out of fold: all of class '8' lies" in said
    assert "by burst, say, not by camera, as in group_by=r'cam\\d+_burst\\d+'" in said
    assert run.judged["images"].tolist() == (labels != 8).nonzero().flatten().tolist()
    fold = torch.full_like(labels, -1).index_copy_(0, run.judged["images"], run.judged["fold"])
    own = int(fold[(camera == 0) & (labels != 8)][0])
    # Nor does any expert of those heads say that class, of which they know nothing.
    assert (run.judged["logits"][:, run.judged["fold"] == own].argmax(dim=2) != 8).all()
    table = by_class(run, split="out-of-fold").set_index("class")
    assert table["images"].sum() == number and table["accuracy"].drop("8").mean() > 0.5
    assert 0 < thresholds(run, answered=0.5)["0"] < 1


def test_classes_of_one_picture_are_named_among_those_that_nobody_judges(seen, runs_dir, capsys):
    labels = seen.train.labels
    kept = torch.cat([(labels != 8).nonzero().flatten(), (labels == 8).nonzero().flatten()[:1]])
    data = replace(seen, train=seen.train.at(kept), identity=seen.identity | {"one": 8})
    dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=2, **QUIET)
    told = "training pictures are judged out of fold: of class '8' there is one picture\n"
    assert f"tiny: {len(kept) - 1} of {len(kept)} {told}" in capsys.readouterr().out


def test_where_nothing_can_be_judged_the_reason_is_told(seen, runs_dir, capsys):
    data = replace(seen, together=seen.train.labels, identity=seen.identity | {"group_by": "cam"})
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, epochs=2, **QUIET)
    assert f"0 of {len(seen.train)} training pictures are judged out of fold: all of class '0', '1'" in (
        capsys.readouterr().out
    )
    with pytest.raises(ValueError, match="no predictions out of fold; all of each class lies in one group or one fold"):
        by_class(run, split="out-of-fold")
    run = dq.fit("dqroute-published", seen, runs_dir=runs_dir, epochs=2, **QUIET)
    with pytest.raises(ValueError, match="no predictions out of fold; it was judged on the images that it trains on"):
        by_class(run, split="out-of-fold")
