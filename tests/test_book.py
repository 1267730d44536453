"""The built book in a real browser: every page opens, moves, is searchable, fits a phone and asks nobody else."""

from __future__ import annotations

import functools
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import unquote, urlsplit

import build_book
import pytest
import yaml
from browser import find_browser, on_build_server
from bs4 import BeautifulSoup
from build_book import RESULTS, ROOT

PAGES = [f"{page}.html" for page in build_book.pages()]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
# Those that building runs.
NOTEBOOKS = [
    page.removesuffix(".html")
    for page in PAGES
    if (file := (ROOT / page).with_suffix(".ipynb")).is_file()
    and file.relative_to(ROOT).as_posix() not in CONFIG["execute"]["exclude_patterns"]
]
WIDE, PHONE = 1280, 390
SERIOUS = {"serious", "critical"}
# docutils writes the literature as a list whose entries have a more exact role than a list's: no setting changes that.
NOT_OURS = {("aria-required-children", ".citation-list")}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def published() -> dict[str, int]:
    """The files in book/results and when they were written."""
    return {str(path): path.stat().st_mtime_ns for path in RESULTS.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def html() -> Path:
    """The book's pages, a warning being an error. Notebooks are executed where their cells or the package changed.

    Built where `make book` builds, so that what one has executed the other finds.
    """
    before = published()
    assert build_book.build_book() == 0, "the book does not build; its log is above"
    assert published() == before, "chapters train in a folder of their own; every run that a page shows is published"
    return ROOT / "_build" / "html"


@functools.cache
def soup_of(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), functools.partial(QuietHandler, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    program = find_browser()
    if program is None:
        (pytest.fail if on_build_server() else pytest.skip)("no Chromium; `make browser` tries to install one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def visit(chromium, address, request):
    """Open a page; gather what goes wrong and who is asked for something."""
    opened = []

    def open_page(path: str):
        page = chromium.new_page(viewport={"width": WIDE, "height": 900}, color_scheme=request.param)
        # What never comes must not keep the tests for ever; a busy machine may take its time.
        page.set_default_timeout(600_000)
        opened.append(page)
        page.problems, page.strangers = [], set()
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("response", lambda r: page.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: note_stranger(page.strangers, r.url))
        page.goto(f"{address}/{path}", wait_until="networkidle")
        return page

    open_page.scheme = request.param
    yield open_page
    for page in opened:
        page.close()


def note_stranger(strangers: set[str], url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "localhost":
        strangers.add(url)


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


def test_a_page_without_html_fails_the_build(elsewhere, capfd, monkeypatch):
    def write(command, **_):
        for page in ("intro", "b"):
            path = elsewhere / "_build" / "html" / f"{page}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return CompletedProcess(command, 0)

    monkeypatch.setattr(build_book.subprocess, "run", write)
    assert build_book.build_book(elsewhere) == 1
    assert "have no HTML: a\n" in capfd.readouterr().err


def test_a_build_that_failed_reads_its_pages_again(elsewhere):
    """Or its warnings would not come a second time."""
    read = elsewhere / "_build" / ".doctrees" / "a.doctree"
    read.parent.mkdir(parents=True)
    read.touch()
    assert build_book.build_book(elsewhere) == 1 and not read.exists()


def test_executed_notebooks_are_kept_until_the_package_or_a_result_changes(elsewhere):
    kept = [elsewhere / "_build" / ".jupyter_cache" / "base.ipynb", elsewhere / "runs" / "chapter"]

    def survive() -> list[bool]:
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        build_book.build_book(elsewhere)
        return [path.exists() for path in kept]

    assert survive() == [False, False], "filled from nobody knows what"
    assert survive() == [True, True]
    for changed in ("dqroute/part.py", "dqroute/part.html", "results/table.jsonl", "speed/engine.json"):
        (elsewhere / changed).parent.mkdir(exist_ok=True)
        (elsewhere / changed).write_text("new")
        assert survive() == [False, False], changed
        assert survive() == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_page_is_small(html, path):
    """Under 3 MB with its pictures, the theme's own files left out."""
    page = html / path
    pictures = {image["src"] for image in soup_of(page).select("article img[src]")}
    files = {(page.parent / picture).resolve() for picture in pictures if not picture.startswith("data:")}
    assert page.stat().st_size + sum(file.stat().st_size for file in files) < 3_000_000


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
    """A picture without one is given its file's name."""
    texts = [image.get("alt", "") for image in soup_of(html / path).select("article img")]
    assert [text for text in texts if len(text) < 20 or "_images/" in text] == []


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
def test_a_notebooks_page_launches_it_elsewhere(html, notebook):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    owner_and_name, branch = urlsplit(config["repository"]["url"]).path.strip("/"), config["repository"]["branch"]
    links = {link["href"] for link in soup_of(html / f"{notebook}.html").select("a[href]")}
    assert {
        f"https://mybinder.org/v2/gh/{owner_and_name}/{branch}?urlpath=lab/tree/{notebook}.ipynb",
        f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/{notebook}.ipynb",
    } <= links


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("path", PAGES)
def test_a_reader_visits_a_page(visit, path):
    """On a wide screen, then on a phone: it opens, in the reader's colours, moves by keys, and everyone can read it."""
    page = visit(path)
    assert page.locator("article h1").count() == 1 and page.locator("article h1").inner_text().strip()
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert (red + green + blue < 3 * 128) == (visit.scheme == "dark")
    if page.locator("article .math").count():
        page.locator(".math mjx-container").first.wait_for()
    assert serious_faults(page) == []
    parts = page.locator(".moving").all()
    source = (ROOT / path).with_suffix(".ipynb")
    if source.is_file() and "show.moving(" in source.read_text(encoding="utf-8"):
        assert parts
    # What they do has nothing to do with colours.
    for part in parts if visit.scheme == "light" else []:
        check_keys(part)
        check_pointer(page, part)
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert serious_faults(page) == []
    assert page.problems == [] and page.strangers == set()


@pytest.mark.slow
@pytest.mark.browser
def test_a_reader_searches(visit):
    page = visit("search.html?q=difficulty")
    page.locator("#search-results li").first.wait_for()
    assert serious_faults(page) == []
    assert page.problems == [] and page.strangers == set()


def serious_faults(page) -> list[tuple]:
    """What keeps someone from reading the page as it stands, by axe."""
    from axe_playwright_python.sync_playwright import Axe

    # A colour on its way to another is not one that readers read.
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    # Else axe asks for style sheets itself, at addresses that the page does not.
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    faults = [fault for fault in violations if fault["impact"] in SERIOUS]
    found = [(fault["id"], *node["target"]) for fault in faults for node in fault["nodes"]]
    return [fault for fault in found if fault not in NOT_OURS]


def told(part) -> dict:
    """What a moving part looks up."""
    return json.loads(part.locator("script[type='application/json']").text_content())


def check_keys(part) -> None:
    """Every position of every control is reached by keys alone, and shows the frame that the table has for it."""
    table = told(part)
    controls = part.locator("input, select").all()
    labels = [part.locator(f"label[for='{control.get_attribute('id')}']").inner_text() for control in controls]
    assert labels and all(label.strip() for label in labels)
    positions = itertools.product(*(range(len(names)) for names in table["names"]))
    # Of hundreds of points, each with a press of a key, the first are enough.
    for frame, places in itertools.islice(zip(table["frames"], positions, strict=True), 5 if table["points"] else None):
        for control, place, names in zip(controls, places, table["names"], strict=True):
            move_by_keys(control, place)
            if control.get_attribute("type") == "range":
                assert control.get_attribute("aria-valuetext") == names[place]
        drawing, sentence = frame
        assert part.locator(".moving-answer").inner_text() == sentence
        shown = part.locator(".moving-drawing")
        if table["points"]:
            assert shown.locator("img").get_attribute("alt") == sentence
        else:
            assert shown.locator("svg").get_attribute("aria-label") == sentence
            assert shown.locator("svg text").count() == drawing.count("</text>")


def move_by_keys(control, place: int) -> None:
    """Focus a control and press arrows until it stands at a place."""
    control.focus()
    while (now := int(control.input_value())) != place:
        control.press("ArrowRight" if now < place else "ArrowLeft")
        assert int(control.input_value()) != now, "an arrow key did not move it"


def check_pointer(page, part) -> None:
    """Pointed at, a point shows its sentence and picture, and the mark lies on it."""
    table = told(part)
    points = table["points"]
    alone = [
        k
        for k, (x, y) in enumerate(points)
        if all(abs(x - a) + abs(y - b) > 0.02 for j, (a, b) in enumerate(points) if j != k)
    ]
    if not points:
        return
    assert len(alone) >= 5
    ground, answer = part.locator(".moving-ground"), part.locator(".moving-answer")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    for k in alone[:5]:
        x, y = points[k]
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        picture, sentence = table["frames"][k]
        assert answer.inner_text() == sentence == part.locator(".moving-drawing img").get_attribute("alt")
        assert part.locator(".moving-drawing img").get_attribute("src") in picture
        assert int(part.locator("input").input_value()) == k
        mark = part.locator(".moving-mark").bounding_box()
        assert abs(mark["x"] + mark["width"] / 2 - box["x"] - x * box["width"]) < 1
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert answer.inner_text() == table["frames"][alone[4]][1], "a corner without points leaves what was shown"
