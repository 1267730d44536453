"""The built book: it builds without a warning, and every page is small, complete and linked to places that exist."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import unquote, urlsplit

import build_book
import pytest
import yaml
from bs4 import BeautifulSoup
from build_book import ROOT

PAGES = [f"{page}.html" for page in build_book.pages()]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
# Those that building runs.
NOTEBOOKS = [
    page.removesuffix(".html")
    for page in PAGES
    if (file := (ROOT / page).with_suffix(".ipynb")).is_file()
    and file.relative_to(ROOT).as_posix() not in CONFIG["execute"]["exclude_patterns"]
]


@functools.cache
def soup_of(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """A small book in a folder of its own, whose pages nobody writes: what a builder does that fails silently."""
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "CHAPTER_RUNS", tmp_path / "runs")
    monkeypatch.setattr(build_book, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(build_book, "SPEED_RESULTS", tmp_path / "speed")
    monkeypatch.setattr(
        build_book.subprocess, "run", lambda command, **_: build_book.subprocess.CompletedProcess([], 0)
    )
    toc = {"format": "jb-book", "root": "intro", "chapters": [{"file": "a", "sections": [{"file": "b"}]}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    (tmp_path / "dqroute").mkdir()
    return tmp_path


def write_pages(monkeypatch: pytest.MonkeyPatch, book: Path, *pages: str) -> None:
    """Have the builder write these pages."""

    def write(command, **_):
        for page in pages:
            path = book / "_build" / "html" / f"{page}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return CompletedProcess(command, 0)

    monkeypatch.setattr(build_book.subprocess, "run", write)


def test_a_page_without_html_fails_the_build(elsewhere, capfd, monkeypatch):
    write_pages(monkeypatch, elsewhere, "intro", "b")
    assert build_book.build_book(elsewhere) == 1
    assert "have no HTML: a\n" in capfd.readouterr().err


def test_a_build_that_failed_reads_its_pages_again(elsewhere):
    """Or its warnings would not come a second time."""
    read = elsewhere / "_build" / ".doctrees" / "a.doctree"
    read.parent.mkdir(parents=True)
    read.touch()
    assert build_book.build_book(elsewhere) == 1 and not read.exists()


def test_executed_notebooks_are_kept_until_the_package_or_a_result_changes(elsewhere, monkeypatch):
    """And the pages as they were read, which nobody would read again."""
    write_pages(monkeypatch, elsewhere, "intro", "a", "b")
    build = elsewhere / "_build"
    kept = [build / ".jupyter_cache" / "base.ipynb", build / ".doctrees" / "a.doctree", elsewhere / "runs" / "chapter"]

    def survive() -> set[bool]:
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert build_book.build_book(elsewhere) == 0
        return {path.exists() for path in kept}

    assert survive() == {False}, "filled from nobody knows what"
    assert survive() == {True}
    for changed in ("dqroute/part.py", "dqroute/part.html", "results/table.jsonl", "speed/engine.json"):
        (elsewhere / changed).parent.mkdir(exist_ok=True)
        (elsewhere / changed).write_text("new")
        assert survive() == {False}, changed
        assert survive() == {True}


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_page_is_small(html, path):
    """Under 3 MB with its pictures, the theme's own files left out."""
    page = html / path
    pictures = {image["src"] for image in soup_of(page).select("article img[src]")}
    files = {(page.parent / picture).resolve() for picture in pictures if not picture.startswith("data:")}
    # Its classifier is trained in the page, on photographs that have to be there.
    limit = 4_500_000 if path == "book/knob.html" else 3_000_000
    assert page.stat().st_size + sum(file.stat().st_size for file in files) < limit


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_figure_that_a_notebook_draws_is_on_its_page(html, notebook):
    """Each cell that ends in a figure has an alternative text for it."""
    cells = json.loads((ROOT / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    told = [cell["metadata"].get("mystnb", {}).get("image", {}).get("alt") for cell in cells]
    shown = {image.get("alt") for image in soup_of(html / f"{notebook}.html").select("article img[src]")}
    assert {text for text in told if text} <= shown


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_every_picture_has_an_alternative_text(html, path):
    """A picture without one is given its file's name. Small ones in a row, within the page, say each what it is of."""
    pictures = soup_of(html / path).select("article img")
    tiles = [image for image in pictures if image["src"].startswith("data:")]
    texts = [image.get("alt", "") for image in pictures if image not in tiles]
    assert [text for text in texts if len(text) < 20 or "_images/" in text] == []
    assert all(image.get("alt") for image in tiles)


@pytest.mark.slow
def test_no_page_shows_a_path_of_this_machine(html):
    """Neither of the checkout, nor of the home or Python's."""
    places = {str(ROOT), str(Path.home()), sys.prefix} - {"/"}
    pages = {page.name: page.read_text(encoding="utf-8") for page in html.rglob("*.html")}
    assert pages and [(name, place) for name, text in pages.items() for place in places if place in text] == []


@pytest.mark.slow
def test_no_page_loads_from_another_host(html):
    """Also what a browser asks for only later: scripts, styles and images named in the pages."""
    loaded = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
    strangers = set()
    for page in html.rglob("*.html"):
        for element in soup_of(page).find_all(list(loaded)):
            asked = element.get(loaded[element.name], "")
            strangers |= {(page.name, asked)} if asked.startswith(("http:", "https:", "//")) else set()
    assert not strangers


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_internal_links_hold(html, path):
    """Those to other sites, the launch buttons' among them, are not followed."""
    broken = []
    for link in soup_of(html / path).select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = (html / path).parent / unquote(parts.path) if parts.path else html / path
        if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in places(target)):
            broken.append(link["href"])
    assert not broken


@functools.cache
def places(page: Path) -> set[str]:
    """What a link may name after the #."""
    return {element["id"] for element in soup_of(page).select("[id]")}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebooks_page_launches_it_on_binder_once_the_repository_has_an_address(html, notebook):
    links = {link["href"] for link in soup_of(html / f"{notebook}.html").select("a[href]")}
    on_binder = {link for link in links if link.startswith("https://mybinder.org/")}
    if (repository := CONFIG.get("repository")) is None:
        assert not on_binder
    else:
        where = f"{urlsplit(repository['url']).path.strip('/')}/{repository['branch']}"
        assert on_binder == {f"https://mybinder.org/v2/gh/{where}?urlpath=lab/tree/{notebook}.ipynb"}
