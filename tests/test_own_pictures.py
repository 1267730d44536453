"""The chapter on one's own pictures, run by papermill on a folder that it has never seen."""

from __future__ import annotations

import json

import pandas as pd
import papermill
import pytest
import torch
from build_book import ROOT
from PIL import Image

import dqroute as dq

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(tmp_path):
    """A folder of four classes, 24 scanned digits down to 5, in one piece; and new ones, one of which is no picture."""
    digits = dq.load("digits", imbalance=None)
    for name, number in {"zero": 24, "one": 16, "two": 9, "three": 5}.items():
        of_class = (digits.train.labels == ["zero", "one", "two", "three"].index(name)).nonzero().flatten()
        for place, chosen in ((tmp_path / "mine" / name, of_class[:number]), (tmp_path / "new", of_class[-3:])):
            place.mkdir(parents=True, exist_ok=True)
            for i in chosen.tolist():
                image = Image.fromarray(digits.train.images[i, 0].numpy())
                image.resize((48, 48)).save(place / f"{name}-{i}.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"nothing")
    return tmp_path


def said_of(folders, monkeypatch, **asked):
    """What the chapter says, its text and its HTML."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    asked |= {"runs_dir": str(folders / "runs")}
    papermill.execute_notebook(
        ROOT / "book" / "own_pictures.ipynb", folders / "out.ipynb", asked, cwd=folders, progress_bar=False
    )
    cells = json.loads((folders / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    return "".join(
        "".join(text)
        for cell in cells
        for output in cell.get("outputs", [])
        for text in (output.get("text", []), *(output.get("data", {}).get(f"text/{k}", []) for k in ("plain", "html")))
    )


def test_the_chapter_runs_unattended_on_a_folder_of_ones_own(folders, monkeypatch):
    (folders / "answers.csv").write_text("mine")
    said = said_of(folders, monkeypatch, pictures=str(folders / "mine"), classify=str(folders / "new"))
    assert "mine: 11 of 54 pictures are held out as test (seed 0)" in said
    assert "of 13 answered with 80 %" in said and "most often called" in said and "similarity" in said
    (run,) = [run for run in dq.find_runs(folders / "runs") if run.method == "dqroute"]
    assert run.report().balanced > 0.5 and (run.folder / "card.md").is_file()
    # What lies there is kept; what cannot be read is a row of the answers, and said.
    assert (folders / "answers.csv").read_text() == "mine" and f"all 13 answers: {folders / 'answers1.csv'}" in said
    answers = pd.read_csv(folders / "answers1.csv").set_index("file")
    assert "1 could not be read: broken.png" in said and len(answers) == 13
    assert (
        answers["problem"].notna().sum() == 1
        and "no picture" in answers.loc[str(folders / "new/broken.png"), "problem"]
    )


def test_without_new_pictures_none_are_shown_and_the_table_is_read_as_asked(folders, monkeypatch):
    files = sorted((folders / "mine").rglob("*.png"))
    files[0].write_bytes(b"")
    rows = [f"{file.relative_to(folders)},{file.parent.name}" for file in files]
    (folders / "mine.csv").write_text("\n".join(["Datei,Art", *rows]))
    columns = '{"path": "Datei", "label": "Art"}'
    asked = {"pictures": str(folders / "mine.csv"), "columns": columns, "test": 0, "fit": "pad", "skip_damaged": True}
    said = said_of(folders, monkeypatch, **asked)
    assert "1 damaged file is left out" in said and "none of the 53 pictures is held out" in said
    assert "No new pictures were given" in said and "53 out-of-fold pictures" in said
    assert "answered with" not in said and "similarity" not in said
    (run,) = [run for run in dq.find_runs(folders / "runs") if run.method == "dqroute"]
    assert run.settings["data"]["fit"] == "pad" and run.settings["data"]["test"] == 0


def test_what_is_not_there_is_named_before_anything_is_trained(folders, monkeypatch):
    mine, new = str(folders / "mine"), str(folders / "new")
    with pytest.raises(papermill.PapermillExecutionError, match="unknown parameter 'clasify'"):
        said_of(folders, monkeypatch, pictures=mine, clasify=new)
    assert not (folders / "runs").exists()
    for asked, told in (
        ({"pictures": mine + "s", "classify": new}, "no folder and no table .*mines"),
        ({"pictures": mine, "classify": new + "s"}, "there is no folder and no picture .*news"),
        ({"classify": new}, "name what is to be learned from"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=told):
            begun(asked)


def begun(asked):
    """The chapter's first two cells of code, with parameters between them, as papermill runs them."""
    cells = json.loads((ROOT / "book" / "own_pictures.ipynb").read_text(encoding="utf-8"))["cells"]
    first, second = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:2]
    scope = {"__name__": "__main__"}
    exec(first, scope)
    exec(second, scope | asked)
