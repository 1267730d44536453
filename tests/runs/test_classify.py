"""A folder of pictures in, a saved model out, and other pictures named by it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import dqroute as dq
from dqroute.runs.classify import pictures_of
from dqroute.runs.label_next import label_next


def stripes(path, across, seed, size=24):
    """A noisy picture of stripes, up and down or across: two classes that anything can tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = np.zeros((size, size, 3)) + 200 * (np.arange(size) // 3 % 2)[:, None, None]
    pixels = (pixels if across else pixels.transpose(1, 0, 2)) + random.integers(0, 40, (size, size, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def served(tmp_path_factory, quick):
    """A run trained on a folder, copied as it would be to another machine."""
    place = tmp_path_factory.mktemp("served")
    for part, count in (("train", {"across": 24, "up": 6}), ("test", {"across": 4, "up": 4})):
        for name, n in count.items():
            for i in range(n):
                stripes(place / "set" / part / name / f"{i}.png", name == "across", (len(part), i))
    data = dq.load(f"folder:{place / 'set'}")
    run = dq.fit("logit-adjustment", data, epochs=8, runs_dir=place / "runs", **quick | {"batch_size": 10})
    (place / "copy").mkdir()
    for name in ("settings.json", "weights.safetensors"):
        shutil.copy(run.folder / name, place / "copy")
    files = sorted((place / "set" / "test").glob("*/*.png"))
    return run, dq.Run(place / "copy"), files, data


def test_a_copied_run_names_the_pictures_as_the_trained_one_does(served):
    run, copy, files, data = served
    table, expected = dq.classify(copy, files, device="cpu"), run.model.predict(data.test)
    assert list(table.columns) == ["file", "class", "probability", "answered", "problem"]
    assert list(table["file"]) == [str(file) for file in files]
    assert list(table["class"]) == [data.class_names[c] for c in expected.label]
    assert list(table["probability"]) == pytest.approx(expected.probability.tolist(), abs=1e-5)
    assert list(table["class"]) == [file.parent.name for file in files]
    assert table["answered"].all() and not table["problem"].any()


def test_batches_give_the_same_table(served):
    _, copy, files, _ = served
    whole = dq.classify(copy, files, device="cpu")
    pd.testing.assert_frame_equal(whole, dq.classify(copy, files, device="cpu", batch_size=3), rtol=1e-4)


def test_a_picture_that_cannot_be_read_costs_its_own_row_alone(served, tmp_path):
    _, copy, files, _ = served
    (tmp_path / "notes.png").write_text("no picture")
    asked = [files[0], tmp_path / "notes.png", files[5], tmp_path / "gone.jpg"]
    with pytest.warns(UserWarning, match=r"^2 of 4 pictures cannot be read, the first '.*notes.png': the column prob"):
        table = dq.classify(copy, asked, device="cpu", batch_size=3)
    assert list(table["class"].isna()) == [False, True, False, True]
    assert list(table["answered"]) == [True, False, True, False]
    assert "notes.png (no picture of a kind that is read here)" in table["problem"][1]
    assert "gone.jpg" in table["problem"][3]
    assert [table["class"][0], table["class"][2]] == [files[0].parent.name, files[5].parent.name]


def test_a_folder_or_a_generator_names_the_pictures_too(served, tmp_path):
    _, copy, files, _ = served
    whole = dq.classify(copy, files, device="cpu")
    folder = files[0].parents[1]
    for asked in (folder, (file for file in files)):
        pd.testing.assert_frame_equal(dq.classify(copy, asked, device="cpu"), whole)
    pd.testing.assert_frame_equal(dq.classify(copy, [*folder.glob("across"), *folder.glob("up")], device="cpu"), whole)
    with pytest.raises(ValueError, match="has no picture"):
        dq.classify(copy, tmp_path, device="cpu")


def test_pictures_in_memory_are_named_as_their_files_are(served, tmp_path):
    """In whatever form; the model reads squares, and none of these is one."""
    _, copy, files, data = served
    for n, file in enumerate(files):
        with Image.open(file) as image:
            image.resize((40, 24)).save(tmp_path / f"{n}.png")
    wide = sorted(tmp_path.glob("*.png"))
    arrays = [np.asarray(Image.open(file)) for file in wide]
    tensors = [torch.from_numpy(pixels.copy()).permute(2, 0, 1) for pixels in arrays]
    expected = dq.classify(copy, wide, device="cpu")
    in_forms = (map(Image.open, wide), arrays, np.stack(arrays), tensors, torch.stack(tensors), iter(arrays))
    for given in in_forms:
        table = dq.classify(copy, given, device="cpu", batch_size=3)
        assert list(table["file"]) == [f"picture {n}" for n in range(len(wide))]
        pd.testing.assert_frame_equal(table.drop(columns="file"), expected.drop(columns="file"), rtol=1e-4)
    mixed = dq.classify(copy, [arrays[0], str(wide[1]), tensors[2], arrays[3][..., 0]], device="cpu")
    assert list(mixed["file"]) == ["picture 0", str(wide[1]), "picture 2", "picture 3"]
    assert list(mixed["class"][:3]) == list(expected["class"][:3]) and mixed["class"].notna().all()
    for one in (arrays[0], tensors[0], Image.open(wide[0])):
        assert dq.classify(copy, one, device="cpu")["class"].tolist() == [expected["class"][0]]
    told = dq.explain(copy, str(wide[0]))
    assert dq.explain(copy, arrays[0]) == dq.explain(copy, Image.open(wide[0])) == told
    assert torch.equal(dq.nearest(copy, arrays, data.train).indices, dq.nearest(copy, wide, data.train).indices)


def test_a_damaged_picture_in_memory_costs_its_own_row_alone(served, tmp_path):
    _, copy, files, _ = served
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"^1 of 3 pictures cannot be read, the first 'picture 0'"):
        table = dq.classify(copy, [Image.open(tmp_path / "cut.png"), files[1], Image.open(files[2])], device="cpu")
    assert list(table["class"].isna()) == [True, False, False]
    assert table["problem"][0].startswith("cannot read picture 0 (") and not table["problem"][1:].any()
    with pytest.raises(ValueError, match="cannot read a picture .*truncated"):
        dq.explain(copy, Image.open(tmp_path / "cut.png"))


def test_what_is_no_picture_says_what_is_one(served):
    with pytest.raises(ValueError, match=r"got float64 \[24, 24, 3\]; of floats from 0 to 1 make \(255 \* pixels\)"):
        dq.classify(served[1], [np.zeros((24, 24, 3))])
    with pytest.raises(ValueError, match=r"uint8 pixels, .* got uint16 \[24, 24\]$"):
        dq.classify(served[1], np.zeros((24, 24), np.uint16))
    for wrong in (torch.zeros(24, 24, 3, dtype=torch.uint8), np.zeros((0, 24), np.uint8), np.zeros(5, np.uint8)):
        with pytest.raises(ValueError, match="a picture in memory is uint8 pixels"):
            dq.classify(served[1], [wrong])
    for wrong in (3, [None], [{"path": "a.png"}]):
        with pytest.raises(ValueError, match=r"a picture is the path of a file, a picture of Pillow's, or uint8"):
            dq.classify(served[1], wrong)
    with pytest.raises(ValueError, match=r"paths; got <Image>; save a picture first, as in Image.fromarray\(ARRAY\)"):
        dq.read_images(Image.new("RGB", (24, 24)), 24)
    with pytest.raises(FileNotFoundError, match=r"no picture .*\*.png; .*, or several, as in glob.glob\(PATTERN\)"):
        dq.classify(served[1], str(served[2][0].parent / "*.png"))


def test_each_class_may_have_its_own_threshold(served):
    _, copy, files, data = served
    whole = dq.classify(copy, files, device="cpu")
    name = whole["class"][0]
    strict = dq.classify(copy, files, answer_at={name: 1.0}, device="cpu")
    of_it = whole["class"] == name
    assert not strict["answered"][of_it & (whole["probability"] < 1)].any() and strict["answered"][~of_it].all()
    with pytest.raises(ValueError, match="unknown class of answer_at 'unicorn'"):
        dq.classify(copy, files, answer_at={"unicorn": 0.5}, device="cpu")
    with pytest.raises(ValueError, match="answer_at must lie between 0 and 1"):
        dq.classify(copy, files, answer_at={data.class_names[0]: 95}, device="cpu")


def test_below_the_threshold_the_model_abstains_but_still_says_its_guess(served):
    _, copy, files, _ = served
    probability = dq.classify(copy, files, device="cpu")["probability"]
    threshold = probability.sort_values().iloc[3]
    table = dq.classify(copy, files, answer_at=threshold, device="cpu")
    assert list(table["answered"]) == list(probability >= threshold) and 0 < table["answered"].sum() < len(files)
    assert table["class"].notna().all()


def test_no_files_give_an_empty_table(served):
    table = dq.classify(served[1], [], device="cpu")
    assert len(table) == 0 and "class" in table


def test_a_threshold_out_of_range_is_refused(served):
    with pytest.raises(ValueError, match=r"answer_at must lie between 0 and 1; got 80 \(did you mean 0.8\?\)"):
        dq.classify(served[1], served[2], answer_at=80)
    with pytest.raises(ValueError, match=r"unknown argument of classify 'answerat' \(did you mean 'answer_at'\?\)"):
        dq.classify(served[1], served[2], answerat=0.8)


def test_a_table_is_no_picture_and_is_told_how_its_paths_are_given(served, tmp_path):
    (tmp_path / "new.csv").write_text("path\n")
    with pytest.raises(
        ValueError, match=r"new.csv is a table, and no picture; give the paths in it: dq.classify\(run, \["
    ):
        dq.classify(served[1], tmp_path / "new.csv")


def test_paths_as_windows_writes_them_find_their_files(served, tmp_path, monkeypatch):
    _, copy, files, _ = served
    monkeypatch.chdir(files[0].parent.parent)
    names = [f"{file.parent.name}/{file.name}" for file in files]
    table = dq.classify(copy, [name.replace("/", "\\") for name in names], device="cpu")
    assert list(table["file"]) == names and not table["problem"].any()
    assert list(dq.classify(copy, names[0].replace("/", "\\"), device="cpu")["file"]) == names[:1]
    assert pictures_of(str(files[0].parent.relative_to(Path.cwd())) + "\\") == sorted(Path(names[0]).parent.glob("*"))


@pytest.mark.parametrize("asked", [dq.classify, label_next])
def test_how_far_it_is_may_be_kept_quiet(served, asked, monkeypatch, capsys):
    monkeypatch.setattr("dqroute.data.progress.SECONDS", -1.0)
    asked(served[1], served[2], device="cpu")
    assert "pictures looked at" in capsys.readouterr().err
    asked(served[1], served[2], device="cpu", progress=False)
    assert not capsys.readouterr().err


def test_a_model_of_other_images_says_so(trained):
    with pytest.raises(ValueError, match=r"square colour pictures; this model takes 1 channel\(s\)"):
        dq.classify(trained[0], ["a.png"], device="cpu")


def test_one_file_is_a_table_of_one_row(served):
    run, _, files, _ = served
    assert dq.classify(run, files[0])["file"].tolist() == dq.classify(run, str(files[0]))["file"].tolist()
    assert len(dq.classify(run, str(files[0]))) == 1 and len(dq.read_images(str(files[0]), 24)) == 1


def test_a_batch_holds_at_least_one(served):
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1; got 0"):
        dq.classify(served[0], served[2], batch_size=0)


def test_pictures_in_a_folder_that_cannot_be_read_are_counted(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("b.psd", "c.PSD", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"files of kinds that are not read here are left out: 2 \.psd$"):
        assert pictures_of(tmp_path) == [tmp_path / "a.png"]
