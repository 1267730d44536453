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


def test_the_readme_has_the_numbers_of_the_runs():
    """Each row of its table is that method's in the summary of the published runs."""
    found = tables.summary(read_published(ROOT / "book" / "results" / "cifar-100.jsonl"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]
    told = {row[0]: row[1:] for row in rows if re.match(r"\d", row[-1])}
    assert len(told) > 3 and all(list(found.loc[method].iloc[:4]) == numbers for method, numbers in told.items())
