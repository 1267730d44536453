"""The built book in a real browser: every page opens, moves, is searchable, fits a phone and asks nobody else."""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browser import find_browser, on_build_server
from bs4 import BeautifulSoup
from build_book import RESULTS, ROOT, build_book

pytestmark = pytest.mark.slow

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
# Executed alone, each in a kernel of its own, while the book is built.
MOVING = ("long_tail", "difficulty", "experts", "routing", "parts", "benchmarks", "own_pictures")
CHAPTERS = [f"book/{name}.html" for name in MOVING]
PAGES = [f"{name}.html" for name in [TOC["root"], *(chapter["file"] for chapter in TOC["chapters"])]]
NOTEBOOKS = [page.removesuffix(".html") for page in PAGES if (ROOT / page).with_suffix(".ipynb").is_file()]
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
def results_before() -> dict[str, int]:
    return published()


def processor_seconds() -> float:
    """What the processes started from here have used so far; other than by the clock, nobody else's work counts."""
    used = os.times()
    return used.children_user + used.children_system


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, results_before: dict[str, int]) -> tuple[Path, float]:
    """The book's folder, built from nothing, a warning being an error; and the processor seconds it took."""
    output = tmp_path_factory.mktemp("book")
    before = processor_seconds()
    assert build_book(output, everything=True).returncode == 0, "the book does not build; its log is above"
    return output / "_build" / "html", processor_seconds() - before


@pytest.fixture(scope="module")
def html(built: tuple[Path, float]) -> Path:
    return built[0]


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
    """Open a page in a window of some width; gather what goes wrong and who is asked for something."""
    opened = []

    def open_page(path: str, width: int = 1280):
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=request.param)
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


def test_book_builds_without_warnings(html):
    missing = [page for page in PAGES if not (html / page).is_file()]
    assert not missing


def test_building_leaves_the_published_results_alone(html, results_before):
    """The chapters train in a folder of their own, the other pages nothing: every run that they show is published."""
    assert published() == results_before


def test_building_from_nothing_takes_ten_minutes_of_two_cores(built):
    assert built[1] < 2 * 600


@pytest.mark.parametrize("path", PAGES)
def test_page_is_small(html, path):
    """Under 3 MB with its pictures, the theme's own files left out."""
    page = html / path
    pictures = {os.path.normpath(page.parent / image["src"]) for image in soup_of(page).select("article img[src]")}
    assert page.stat().st_size + sum(os.path.getsize(picture) for picture in pictures) < 3_000_000


def test_every_figure_that_a_notebook_draws_is_on_its_page(html):
    """A cell that ends in a figure, of one page that was executed; each such cell has an alternative text."""
    notebook = json.loads((ROOT / "book" / "results.ipynb").read_text(encoding="utf-8"))
    drawn = [cell for cell in notebook["cells"] if "image" in cell["metadata"].get("mystnb", {})]
    pictures = soup_of(html / "book" / "results.html").select("article img[src]")
    assert len(pictures) == len(drawn) > 0


@pytest.mark.parametrize("path", PAGES)
def test_every_picture_has_an_alternative_text(html, path):
    """A picture without one is given its file's name."""
    texts = [image.get("alt", "") for image in soup_of(html / path).select("article img")]
    assert [text for text in texts if len(text) < 20 or "_images/" in text] == []


def test_no_page_shows_a_path_of_this_machine(html):
    """Neither of the checkout, nor of the place where it was built, nor of the home or Python's."""
    places = {str(ROOT), str(Path.home()), sys.prefix, str(html.parents[1])} - {"/"}
    pages = {page.name: page.read_text(encoding="utf-8") for page in html.rglob("*.html")}
    assert pages and [(name, place) for name, text in pages.items() for place in places if place in text] == []


def test_no_page_loads_from_another_host(html):
    """Also what a browser asks for only later: scripts, styles and images named in the pages."""
    loaded = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
    strangers = set()
    for page in html.rglob("*.html"):
        soup = soup_of(page)
        for tag, attribute in loaded.items():
            addresses = (element.get(attribute, "") for element in soup.find_all(tag))
            strangers |= {(page.name, a) for a in addresses if a.startswith(("http:", "https:", "//"))}
    assert not strangers


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


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebooks_page_launches_it_elsewhere(html, notebook):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    owner_and_name, branch = urlsplit(config["repository"]["url"]).path.strip("/"), config["repository"]["branch"]
    links = {link["href"] for link in soup_of(html / f"{notebook}.html").select("a[href]")}
    assert {
        f"https://mybinder.org/v2/gh/{owner_and_name}/{branch}?urlpath=lab/tree/{notebook}.ipynb",
        f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/{notebook}.ipynb",
    } <= links
    assert (ROOT / f"{notebook}.ipynb").is_file()


def test_when_nothing_changed_building_runs_no_notebook_and_takes_20_seconds(built):
    executed = {path: path.stat().st_mtime_ns for path in executions(built[0])}
    before = processor_seconds()
    assert build_book(built[0].parents[1]).returncode == 0
    assert processor_seconds() - before < 20
    assert {path: path.stat().st_mtime_ns for path in executions(built[0])} == executed


def executions(html: Path) -> list[Path]:
    """The executed notebooks that are kept between builds; each execution writes one anew."""
    found = sorted((html.parent / ".jupyter_cache" / "executed").rglob("base.ipynb"))
    assert len(found) == len(NOTEBOOKS)
    return found


@pytest.mark.browser
@pytest.mark.parametrize("path", PAGES)
def test_page_opens_cleanly(visit, path):
    page = visit(path)
    assert page.locator("article h1").count() == 1
    assert page.locator("article h1").inner_text().strip()
    assert page.problems == []
    assert page.strangers == set()


@pytest.mark.browser
@pytest.mark.parametrize("path", [*PAGES, "search.html?q=difficulty"])
def test_page_has_no_serious_accessibility_fault(visit, path):
    """On a wide screen, and on a phone, where tables and formulas scroll sideways."""
    from axe_playwright_python.sync_playwright import Axe

    page = visit(path)
    # A colour on its way to another is not one that readers read.
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        serious = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in SERIOUS]
        found = [(fault["id"], *node["target"]) for fault in serious for node in fault["nodes"]]
        assert [fault for fault in found if fault not in NOT_OURS] == [], f"at a width of {width} pixels"


@pytest.mark.browser
def test_page_follows_the_readers_colours(visit):
    page = visit(PAGES[0])
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert (red + green + blue < 3 * 128) == (visit.scheme == "dark")


@pytest.mark.browser
def test_formulas_are_drawn(html, visit):
    with_formula = [path for path in PAGES if 'class="math' in (html / path).read_text(encoding="utf-8")]
    assert with_formula
    page = visit(with_formula[0])
    page.locator(".math mjx-container").first.wait_for(timeout=20_000)
    assert page.strangers == set()


@pytest.mark.browser
def test_search_finds_difficulty(visit):
    page = visit("search.html?q=difficulty")
    page.locator("#search-results li").first.wait_for(timeout=20_000)
    assert page.problems == []
    assert page.strangers == set()


@pytest.mark.browser
@pytest.mark.parametrize("path", PAGES)
def test_page_fits_a_phone(visit, path):
    page = visit(path, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
@pytest.mark.parametrize("path", CHAPTERS)
def test_moving_parts_answer_to_the_keyboard(visit, path):
    """Every position of every control is reached by keys alone, and shows the frame that the table has for it."""
    page = visit(path)
    parts = page.locator(".moving").all()
    assert parts
    for part in parts:
        table = json.loads(part.locator("script[type='application/json']").text_content())
        controls = part.locator("input, select").all()
        names = [part.page.locator(f"label[for='{c.get_attribute('id')}']").inner_text() for c in controls]
        assert names and all(name.strip() for name in names)
        positions = itertools.product(*(range(len(names)) for names in table["names"]))
        for frame, places in zip(table["frames"], positions, strict=True):
            for control, place, names in zip(controls, places, table["names"], strict=True):
                move_by_keys(control, place)
                if control.get_attribute("type") == "range":
                    assert control.get_attribute("aria-valuetext") == names[place]
            drawing, sentence = frame
            assert part.locator(".moving-answer").inner_text() == sentence
            assert part.locator(".moving-drawing svg").get_attribute("aria-label") == sentence
            assert part.locator(".moving-drawing svg text").count() == drawing.count("</text>")
    assert page.problems == []
    assert page.strangers == set()


@pytest.mark.browser
def test_points_of_the_simplex_answer_to_the_pointer_and_the_keyboard(visit):
    """Pointed at, a point shows its sentence and picture; so does each that the slider comes to."""
    page = visit("book/routing.html")
    part = page.locator(".hover")
    points = json.loads(part.locator("script[type='application/json']").text_content())
    drawing, slider, answer = part.locator(".hover-drawing"), part.locator("input"), part.locator(".hover-answer")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    alone = [
        k
        for k, (x, y, *_) in enumerate(points)
        if all(abs(x - a) + abs(y - b) > 0.02 for j, (a, b, *_) in enumerate(points) if j != k)
    ]
    assert len(alone) >= 5
    for k in alone[:5]:
        x, y, picture, sentence = points[k]
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        assert answer.inner_text() == sentence
        assert picture in part.locator(".hover-picture").get_attribute("style")
        assert int(slider.input_value()) == k
        mark = part.locator(".hover-mark").bounding_box()
        assert abs(mark["x"] + mark["width"] / 2 - box["x"] - x * box["width"]) < 3
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert answer.inner_text() == points[alone[4]][3], "a corner without points leaves what was shown"
    for k in (0, 1, 2):
        slider.focus()
        slider.press("Home")
        for _ in range(k):
            slider.press("ArrowRight")
        assert answer.inner_text() == points[k][3] == slider.get_attribute("aria-valuetext")
    assert page.problems == []
    assert page.strangers == set()


def move_by_keys(control, place: int) -> None:
    """Focus a control and press arrows until it stands at a place."""
    control.focus()
    while (now := int(control.input_value())) != place:
        control.press("ArrowRight" if now < place else "ArrowLeft")
        assert int(control.input_value()) != now, "an arrow key did not move it"
