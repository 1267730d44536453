"""Files are looked through before training; what is damaged later costs nothing that was trained."""

import json
import re
from pathlib import Path

import pytest
from photos import save_picture

import dqroute as dq
from dqroute.data import load
from dqroute.data.checking import check_files
from dqroute.sweep.parameters import as_options

BOOK = Path(__file__).parents[2] / "book"


def cut(file, share=0.5):
    """Leave the beginning of a file; returns what it was."""
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    return content


def fit(data, folder, quick, **changes):
    return dq.fit("cross-entropy", data, runs_dir=folder, **quick | {"epochs": 1, "batch_size": 4} | changes)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "bmp", "gif"])
def test_what_was_cut_off_is_found_whatever_the_kind(tmp_path, kind):
    for seed, place in enumerate(("train/a", "train/b", "test/a", "test/b")):
        save_picture(tmp_path / place / f"1.{kind}", 90, 90, seed)
    data = load(tmp_path, size=24, stream=True)
    check_files(data)
    cut(tmp_path / "test" / "b" / f"1.{kind}", 0.9)
    with pytest.raises(ValueError, match=rf"cannot read test/b/1.{kind} \(.*\); mend such files, or leave them out"):
        check_files(data)


def test_damaged_files_of_all_parts_are_named_before_training(photo_tree, tmp_path, quick):
    names = [*(f"train/a dog/picture {i}.JPG" for i in (0, 1)), *(f"test/a dog/picture {i}.JPG" for i in (0, 1, 2))]
    whole = {name: cut(photo_tree / name) for name in [*names, "train/ленивая кошка 猫/picture 3.JPG"]}
    data = load(f"folder:{photo_tree}", size=24, stream=True)
    with pytest.raises(ValueError) as error:
        fit(data, tmp_path, quick)
    assert all(f"{name} (" in str(error.value) for name in whole) and "skip_damaged=True" in str(error.value)
    assert not list(tmp_path.rglob("epochs.jsonl")) and not list(tmp_path.rglob("provenance.json"))
    for name in whole.keys() - set(names[2:]):
        (photo_tree / name).write_bytes(whole[name])
    # Unasked for, the test files wait for their turn; and the training is there once they are mended.
    data = load(f"folder:{photo_tree}", size=24, stream=True)
    run = fit(data, tmp_path, quick, check=False)
    with pytest.raises(ValueError, match="cannot read test/a dog/picture 0.JPG"):
        dq.evaluate(run, device="cpu")
    assert run.finished and run.report() is None


def test_the_remedy_is_one_that_each_notebook_takes(photo_tree):
    cut(photo_tree / "train/a dog/picture 0.JPG")
    with pytest.raises(ValueError) as error:
        check_files(load(f"folder:{photo_tree}", size=24, stream=True))
    own, of_benchmark = re.findall(r"-p (\w+) ('[^']+'|\w+)", str(error.value))
    for notebook, (name, _) in (("own_pictures", own), ("benchmark", of_benchmark)):
        cells = json.loads((BOOK / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
        (taken,) = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ())]
        assert re.search(f"^{name} = ", taken, re.M), f"{notebook} does not take {name}"
    data = load(f"folder:{photo_tree}", size=24, stream=True, **as_options(of_benchmark[1].strip("'")))
    check_files(data)


def test_a_test_file_damaged_after_training_is_named_and_mended_or_left_out(photo_tree, tmp_path, quick):
    def loaded():
        return load(f"folder:{photo_tree}", size=24, stream=True)

    run = fit(loaded(), tmp_path, quick)
    file = photo_tree / "test" / "a dog" / "picture 1.JPG"
    whole = cut(file)
    # By its size it is another set; what is wrong is the file.
    with pytest.raises(ValueError, match=r"cannot read test/a dog/picture 1.JPG \(.*truncated"):
        dq.evaluate(dq.Run(run.folder), loaded(), device="cpu")
    file.unlink()
    with pytest.raises(ValueError, match=r"is not the data of .* on purpose: dq.evaluate\(run, data, other=True\)"):
        dq.evaluate(dq.Run(run.folder), loaded(), device="cpu")
    assert dq.evaluate(dq.Run(run.folder), loaded(), device="cpu", other=True).images == 5
    file.write_bytes(whole)
    assert dq.evaluate(dq.Run(run.folder), loaded(), device="cpu").images == 6
