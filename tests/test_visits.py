"""Readers of the built book, in a real browser: a page opens, moves, is searchable, fits a phone, asks nobody else."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import build_book
import pytest
from browser import find_browser, on_build_server
from build_book import ROOT

PAGES = [f"{page}.html" for page in build_book.pages()]
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
    # Else axe asks for style sheets itself, at addresses that the page does not. Of what is right it need not tell.
    violations = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
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
