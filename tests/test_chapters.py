"""What every notebook and table of the book keeps to. That each runs alone shows when the book is built."""

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
from dqroute.runs.published import read_published

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
def test_code_fits_its_page_and_a_glance(path):
    assert [line for source in code_of(path) for line in source.splitlines() if len(line) > WIDTH] == []
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
        assert cell["metadata"].get("tags") == ["remove-cell"], path.stem
        first.append("".join(cell["source"]))
    assert len(set(first)) == 1
    condition, *body = first[0].split("import sys\n\n")[1].splitlines()
    assert condition == 'if "google.colab" in sys.modules:'
    assert body and all(line.startswith("    ") for line in body)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_have_alternative_texts(path):
    """A figure's goes into its cell's metadata; a moving one has its sentence."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        drawn = re.search(r"^(?:figure = )?show\.(?!moving|hover)\w+\(.*;?\Z", "".join(cell["source"]), re.M)
        if cell["cell_type"] == "code" and drawn and "show.hover(" not in "".join(cell["source"]):
            assert len(cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")) > 20, drawn[0]


ROWS = {
    "cross-entropy": ("cross-entropy", "routed"),
    "logit-adjustment": ("logit-adjustment", "routed"),
    "logit-adjustment, calibrated out of fold": ("logit-adjustment", "calibrated"),
    "dqroute-published": ("dqroute-published", "routed"),
    "dqroute, judged on training images": ("dqroute, judge=training", "routed"),
    "dqroute, plain mean of its experts": ("dqroute", "plain mean"),
    "dqroute": ("dqroute", "routed"),
}


@pytest.fixture(scope="module")
def photographs() -> dict:
    """The measures of each row of the README's table, a draw a line."""
    runs = tables.by_options(read_published(ROOT / "book" / "results" / "photographs.jsonl"))
    return {row: tables.measured(runs[of], prediction) for row, (of, prediction) in ROWS.items()}


def test_the_readme_has_the_numbers_of_the_runs(photographs):
    """Each row of its table, and the numbers of its first screen."""
    found, text = tables.means(photographs), (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]
    told = {row[0]: row[1:] for row in rows if re.match(r"\d", row[-1])}
    assert told.keys() == ROWS.keys()
    for row, numbers in told.items():
        assert list(found.loc[row].iloc[:5]) == numbers, row
    few, overall = found["few"], found["overall"].str.split().str[0]
    fooled, ours, one = "dqroute, judged on training images", "dqroute", "logit-adjustment"
    said = " ".join(text.split())
    assert f"is right on {few[fooled]} % of the few-shot test images judged one way and on {few[ours]} %" in said
    assert f"one logit-adjusted classifier has {few[one]} %" in said
    assert f"overall on {overall[fooled]}, {overall[ours]} and {overall[one]} %" in said


def test_what_the_page_on_photographs_says_in_words_is_so(photographs):
    """Rounded: twenty points on few-shot classes and five overall for the judge, eight and nearly six for all of it."""
    ours = photographs["dqroute"]
    judge = (ours - photographs["dqroute, judged on training images"]).mean()
    whole = (ours - photographs["logit-adjustment"]).mean()
    mean = (ours - photographs["dqroute, plain mean of its experts"]).mean()
    assert 20 <= judge["few"] < 22.5 and 4.5 <= judge["overall"] < 5.5
    assert 7.5 <= whole["few"] < 8.5 and 5.5 <= whole["worst fifth"] < 6 and whole["overall"] > 1 and whole["many"] < 0
    assert mean["few"] > 7 and mean["overall"] > 0
