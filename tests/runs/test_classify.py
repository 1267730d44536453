"""A folder of pictures in, a saved model out, and other pictures named by it."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dqroute as dq
from dqroute.runs.classify import pictures_of


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


def test_what_is_no_file_has_one_remedy(served):
    picture = Image.new("RGB", (24, 24))
    for asked in (picture, [picture], np.asarray(picture), [np.asarray(picture)]):
        with pytest.raises(ValueError, match=r"paths; got <.*>; save a picture first, as in Image.fromarray\(ARRAY\)"):
            dq.classify(served[1], asked)
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
