"""The form that every chapter has. That each runs alone shows when the book is built: it has its own kernel there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from build_book import ROOT

import dqroute as dq
from dqroute.runs import tables
from dqroute.runs.curves import trade_off_of

CHAPTERS = ["long_tail", "difficulty", "experts", "routing", "parts", "benchmarks", "own_pictures"]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))

# More characters in a line of code, and its page scrolls sideways.
WIDTH = 83
# More lines in a cell, and nobody takes it in at a glance.
LINES = 15


def code_of(path: Path) -> list[str]:
    """The sources of a notebook's code cells."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_fits_its_page(path):
    assert [line for source in code_of(path) for line in source.splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short(path):
    assert [source for source in code_of(path) if len(source.splitlines()) > LINES] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_cells_ask_of_the_package_is_there(path):
    """Also in lines that run only where there is something to show, which building the book does not try."""
    plain = [
        re.sub(r"^\s*[!%].*$", "", source, flags=re.M).replace("modules:\n", "modules:\n    pass\n")
        for source in code_of(path)
    ]
    tree = ast.parse("\n".join(plain))
    names = {"dq": dq}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("dqroute"):
            exec(ast.unparse(node), names)
    modules = {name: found for name, found in names.items() if isinstance(found, ModuleType)}
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id not in taken:
            assert node.value.id not in modules or hasattr(modules[node.value.id], node.attr), ast.unparse(node)


def test_every_notebook_sets_itself_up_on_colab_and_nowhere_else():
    """One and the same first code cell, which the book's pages leave out."""
    first = []
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cell = next(cell for cell in cells if cell["cell_type"] == "code")
        assert tags(cell) == ["remove-cell"], path.stem
        first.append("".join(cell["source"]))
    assert len(set(first)) == 1
    condition, *body = first[0].split("import sys\n\n")[1].splitlines()
    assert condition == 'if "google.colab" in sys.modules:'
    assert body and all(line.startswith("    ") for line in body)


@pytest.fixture(params=CHAPTERS)
def cells(request) -> list[dict]:
    """The cells of a chapter, their sources as one string each."""
    notebook = json.loads((ROOT / "book" / f"{request.param}.ipynb").read_text(encoding="utf-8"))
    return [cell | {"source": "".join(cell["source"])} for cell in notebook["cells"]]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def test_opens_with_a_question_what_will_be_seen_and_a_picture(cells):
    opening = cells[0]["source"]
    assert opening.startswith("# ")
    assert re.search(r"\*\*[^*]+\?\*\*", opening)
    assert "At the end of this chapter you will have" in re.sub(r"\s+", " ", opening)
    seen = [cell for cell in cells if "remove-cell" not in tags(cell)]
    assert [cell["cell_type"] for cell in seen[1:4]].count("markdown") <= 1
    hidden = {"hide-input", "remove-cell"}
    open_cells = [cell["source"] for cell in cells if cell["cell_type"] == "code" and not hidden & set(tags(cell))]
    assert any("plots." in source or "widgets.moving(" in source for source in open_cells[:2])


def test_has_something_to_move(cells):
    assert any("widgets.moving(" in cell["source"] for cell in cells)


def test_two_or_three_exercises_each_with_a_folded_solution_that_runs(cells):
    start = next(i for i, cell in enumerate(cells) if "## Exercises" in cell["source"])
    exercises = [i for i, cell in enumerate(cells) if i >= start and re.search(r"^\*\*\d\.\*\*", cell["source"], re.M)]
    assert len(exercises) in (2, 3)
    for i in exercises:
        assert cells[i + 1]["cell_type"] == "code" and "hide-cell" in tags(cells[i + 1])


def test_ends_with_what_was_shown_computed_in_the_page(cells):
    place = next(i for i, cell in enumerate(cells) if cell["source"] == "## What was shown")
    assert cells[place + 1]["cell_type"] == "code" and "print(f" in cells[place + 1]["source"]
    assert len(cells) - place <= 3


def test_pictures_have_alternative_texts(cells):
    """A figure's goes into its cell's metadata; a moving one has its sentence."""
    for cell in cells:
        if re.search(r"^plots\..*;$", cell["source"], re.M):
            assert len(cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")) > 20, cell["source"]


def test_the_introduction_has_the_numbers_of_the_runs():
    """They are copied by hand there; each stands in the paragraph about what came of it."""
    text = re.sub(r"\s+", " ", (ROOT / "book" / "intro.md").read_text(encoding="utf-8"))
    told = text[text.index("What came of it here") : text.index("## The method in plain words")]
    runs = dq.find_runs(ROOT / "book" / "results" / "cifar-100")
    table, ahead = tables.summary(runs), tables.paired_differences(runs, "ride").loc["dqroute − ride"]
    wanted = [table.loc[method, "overall"] for method in ("dqroute", "ride", "sade")]
    wanted += [table.loc[method, "few"] for method in ("dqroute", "sade", "ride", "focused")]
    wanted += [ahead["many"].removeprefix("-"), ahead["few"]]
    larger = [run for run in dq.find_runs(ROOT / "book" / "results" / "cifar-100-larger") if run.method == "dqroute"]
    (report,) = [run.report() for run in larger]
    wanted += [f"{100 * value:.1f}" for value in (report.overall, report.plain_mean["overall"])]
    alike = {"photographs-rivals": ("focused",), "photographs-shared": ("dqroute", "ride", "sade", "weighted")}
    for folder, methods in alike.items():
        found = dq.find_runs(ROOT / "book" / "results" / folder / "cifar-100")
        table = tables.summary(run for run in found if run.settings["training"]["branch_width"] > 1)
        wanted += [table.loc[method, group] for method in methods for group in ("overall", "few")]
    places = [told.index(number) for number in wanted]
    assert places == sorted(places) and ahead["many"].startswith("-")


def test_the_readme_has_the_numbers_of_the_runs():
    """Each row of its table, in order; what a row is called is for people, so its place says which runs are meant."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text[text.index("## Results so far") :].splitlines()]
    rows = [[cell.replace("*", "") for cell in row[1:]] for row in rows if len(row) == 6][1:]
    one, cut = ("cross-entropy", "logit-adjustment", "focused"), ("ride", "sade", "dqroute")
    wide = {"branch_width": 1.8}
    wanted = [*(("cifar-100", m, {}) for m in one), ("photographs-shared/cifar-100", "weighted", {})]
    wanted += [("cifar-100", m, {}) for m in cut] + [("photographs-rivals/cifar-100", "focused", wide)]
    wanted += [("photographs-shared/cifar-100", "weighted", wide)]
    wanted += [("photographs-shared/cifar-100", m, wide | {"shared_depth": 3}) for m in cut]
    for row, (folder, method, changes) in zip(rows, wanted, strict=True):
        found = [run for run in dq.find_runs(ROOT / "book" / "results" / folder) if run.method == method]
        changed = {"branch_width": 1.0, "shared_depth": 1} | changes
        found = [run for run in found if changed.items() <= run.settings["training"].items()]
        told = tables.summary(found).iloc[0, :4].tolist()
        told += tables.trade_offs({method: [trade_off_of(run)["routed"] for run in found]}).loc[:, "few 20 %"].tolist()
        assert row == told, row
