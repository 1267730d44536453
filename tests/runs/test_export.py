"""An exported run says of pixels what the run says, in torch and in onnxruntime, without this package."""

import json
import re

import onnxruntime
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from training import save_digits

import dqroute as dq
from dqroute.core.long_tail import exponential_counts, shot_groups
from dqroute.data import features
from dqroute.data.feature_set import as_wanted
from dqroute.data.image_set import Augmentation, ImageSet, Split
from dqroute.models import encoders
from dqroute.models.encoders import ENCODERS, Preprocessing, encoder
from dqroute.runs import export as exporting


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    """Prediction computes in bfloat16 where the hardware does; what is exported does not."""
    for module in (
        "dqroute.models.encoders",
        "dqroute.methods.base",
        "dqroute.data.feature_set",
        "dqroute.runs.export",
    ):
        monkeypatch.setattr(f"{module}.uses_bf16", lambda *_: False)


def photographs(number, size, seed=0):
    """Parts of two photographs, uint8 ``[number, 3, size, size]``."""
    random = torch.Generator().manual_seed(seed)
    whole = [torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images]
    parts = []
    for i in range(number):
        top, left = (int(torch.randint(0, length - size, (), generator=random)) for length in whole[i % 2].shape[1:])
        parts.append(whole[i % 2][:, top : top + size, left : left + size])
    return torch.stack(parts)


def of_photographs(size):
    """A set of parts of photographs, which sort of part being the class."""
    counts = exponential_counts(16, 4, 4)
    labels = torch.repeat_interleave(torch.arange(4), counts)
    train, test = Split(photographs(len(labels), size), labels), Split(photographs(8, size, 1), torch.arange(8) % 4)
    names, told = ("<script>", "müller", "c", "d"), {"name": "parts", "size": size}
    return ImageSet("parts", train, test, names, shot_groups(counts), Augmentation(), told)


def said_by(path, pixels):
    """What an exported file says of pixels, read without this package."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(pixels).detach()
    (answer,) = onnxruntime.InferenceSession(path).run(None, {"pixels": pixels.numpy()})
    return torch.from_numpy(answer)


def metadata_of(path):
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    extra = dict.fromkeys(("class_names", "size", "fit", "interpolation", "run"), "")
    torch.export.load(path, extra_files=extra)
    return extra


def assert_exported(run, path, pixels):
    """One picture and five, as the run has them; and the metadata."""
    assert dq.export(run, path) == path
    for batch in (pixels[:1], pixels):
        said, expected = said_by(path, batch), run.model.predict(batch).probabilities
        assert said.shape == expected.shape and said.dtype == torch.float32
        assert (said - expected).abs().max() < 1e-4
    told = metadata_of(path)
    assert json.loads(told["class_names"]) == list(run.settings["class_names"])
    assert json.loads(told["size"]) == list(pixels.shape[2:]) and told["run"] == run.folder.name


def test_a_program_says_what_the_run_says(trained, tiny, tmp_path):
    assert_exported(trained[0], tmp_path / "model.pt2", tiny.test.images[:5])


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_networks_trained_end_to_end(runs_dir, tmp_path, quick, ending):
    run = dq.fit("dqroute", of_photographs(32), epochs=1, runs_dir=runs_dir, **quick)
    assert_exported(run, tmp_path / f"model{ending}", photographs(5, 32, 2))


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_heads_behind_the_bundled_network_take_photographs(runs_dir, tmp_path, ending):
    run = dq.fit("dqroute", features(of_photographs(160), progress=False), runs_dir=runs_dir, progress=False)
    assert_exported(run, tmp_path / f"model{ending}", photographs(5, 160, 2))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"detector": "linear", "fusion": "restricted"}, {"fusion": "bayes"}], ids=str)
def test_other_ways_to_fuse(tiny, runs_dir, tmp_path, quick, changes):
    run = dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **changes, **quick)
    assert_exported(run, tmp_path / "model.onnx", tiny.test.images[:5])


def test_where_prediction_is_in_bfloat16_the_line_says_how_far_apart_they_are(
    tiny, runs_dir, tmp_path, capsys, monkeypatch
):
    data = features(tiny, "gradient-histograms", progress=False)
    run = dq.fit("cross-entropy", data, epochs=1, runs_dir=runs_dir, progress=False, device="cpu")
    dq.export(run, tmp_path / "model.pt2")
    assert capsys.readouterr().out == ""  # float32 everywhere
    for module in ("dqroute.models.encoders", "dqroute.runs.export"):
        monkeypatch.setattr(f"{module}.uses_bf16", lambda *_: True)
    dq.export(run, tmp_path / "model.pt2")
    said = capsys.readouterr().out
    told = re.search(r"of 64 pictures of tiny probabilities are apart by (\S+) in the median and (\S+) at most", said)
    chosen = tiny.test.at(torch.linspace(0, 199, 64).long()).images
    pixels = as_wanted(chosen, run.model.needs.size, run.model.needs.interpolation)
    apart = (said_by(tmp_path / "model.pt2", pixels) - run.model.predict(chosen).probabilities).abs().amax(dim=1)
    assert float(told[2]) == pytest.approx(apart.max().item(), rel=0.1) and float(told[2]) > 1e-5
    dq.export(dq.Run(run.folder), tmp_path / "model.pt2")  # without its pictures
    alone = (
        "model.pt2 computes in float32, dq.classify here in bfloat16; thresholds chosen here do not carry over exactly"
    )
    assert capsys.readouterr().out == f"{alone}\n"


def test_in_float32_it_says_of_files_what_classify_says(tiny, runs_dir, tmp_path):
    data = features(tiny, "gradient-histograms", progress=False)
    run = dq.fit("dqroute", data, runs_dir=runs_dir, progress=False, device="cpu")
    files = sorted(save_digits(tiny.test, tmp_path / "new", side=20).glob("*/*.png"))[:9]
    path = dq.export(run, tmp_path / "model.pt2")
    told = metadata_of(path)
    pixels = dq.read_images(files, json.loads(told["size"])[0], told["interpolation"], told["fit"])
    best = said_by(path, pixels).max(dim=1)
    table = dq.classify(run, files, device="cpu")
    assert table["class"].tolist() == [json.loads(told["class_names"])[c] for c in best.indices.tolist()]
    assert table["probability"].tolist() == pytest.approx(best.values.tolist(), abs=1e-4)


def test_what_was_adapted_is_in_it(trained, tiny, tmp_path):
    run = dq.Run(trained[0].folder)
    run.model.shares.copy_(torch.tensor([0.8, 0.1, 0.1]))
    assert_exported(run, tmp_path / "model.pt2", tiny.test.images[:5])


@pytest.mark.parametrize("name", ["model.tflite", "model", "onnx"])
def test_another_ending_lists_those_there_are(trained, tmp_path, name):
    with pytest.raises(ValueError, match=r"unknown ending of an exported file .*\.onnx, \.pt2"):
        dq.export(trained[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_remedy(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ModuleNotFoundError, match=r"ONNX takes onnxscript: pip install 'dqroute\[export\]'"):
        dq.export(trained[0], tmp_path / "model.onnx")


class Brightest(nn.Module):
    """Sees a picture another way if it is dark: steps that depend on what is seen."""

    def forward(self, images):
        small = nn.functional.avg_pool2d(images, 8).flatten(1)
        return small if images.mean().item() > 0 else small.flip(1)


def test_an_encoder_that_cannot_be_exported_is_named_and_nothing_is_written(runs_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "ENCODERS", dict(ENCODERS))
    encoder("brightest")(lambda: (Brightest(), Preprocessing(32)))
    run = dq.fit(
        "cross-entropy", features(of_photographs(32), "brightest", progress=False), runs_dir=runs_dir, epochs=1
    )
    with pytest.raises(ValueError, match=r"brightest cannot be exported as \.pt2 \(.*; try the other"):
        dq.export(run, tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()


def test_a_program_that_says_something_else_is_not_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "as_program", lambda program, metadata, probe: (b"", torch.zeros(3, 10)))
    with pytest.raises(ValueError, match="says something else, by .*: nothing is written"):
        dq.export(trained[0], tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()
