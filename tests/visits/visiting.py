"""What a reader of a page of the built book looks for: it opens, moves, fits a phone, asks nobody else for anything."""

from __future__ import annotations

import base64
import io
import itertools
import json

import build_book
import numpy as np
from axe_playwright_python.sync_playwright import Axe
from build_book import ROOT
from PIL import Image

PAGES = [f"{page}.html" for page in build_book.pages()]
WIDE, PHONE = 1280, 390
SERIOUS = {"serious", "critical"}
# Code, reports and formulas that are longer than their box, in closed folds, too.
CLIPPED = """document.querySelectorAll("article details").forEach(fold => fold.open = true) ||
    [...document.querySelectorAll("article :is(pre, mjx-container[display])")]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.slice(0, 60))"""
# Else axe asks for style sheets itself, at addresses that the page does not. Of what is right it need not tell.
AXE = {"preload": False, "resultTypes": ["violations"]}
COLOURS = ["color-contrast", "link-in-text-block"]
# One template draws all objects of the reference: in each section the first of a kind has the colours of all.
REMOVE_ALIKE = 'document.querySelectorAll("section > dl.py ~ dl.py, dl.py dl.py ~ dl.py").forEach(one => one.remove())'
# Text of one kind is drawn alike, and so is all around it: the first of each kind stands for all. What a link has to
# stand out from is the text that it is in.
MARK_KINDS = """(() => {
    const styles = ["color", "backgroundColor", "backgroundImage", "opacity", "filter", "fontSize", "fontWeight",
        "fill", "textShadow", "textDecorationLine", "borderBottom", "position", "display"]
    const looks = new Map(), seen = new Set(), length = (e) => e.textContent.trim().length
    const look = (e) => {
        if (e && !looks.has(e)) {
            const style = getComputedStyle(e)
            looks.set(e, [look(e.parentElement), e.localName, ...styles.map((name) => style[name])].join())
        }
        return e ? looks.get(e) : ""
    }
    for (const e of document.querySelectorAll("body *")) {
        const link = e.localName === "a"
        const text = [...e.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
        if (!(link || text) || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue
        let kind = look(e)
        if (link) {
            const block = e.closest("p, li, dt, dd, td, th, div")
            const links = [...block.querySelectorAll("a")].reduce((sum, one) => sum + length(one), 0)
            kind += length(block) - links > length(e)
        }
        e.toggleAttribute("data-kind", !seen.has(kind))
        seen.add(kind)
    }
})()"""
# docutils writes the literature as a list whose entries have a more exact role than a list's: no setting changes that.
NOT_OURS = {("aria-required-children", ".citation-list")}


def check_page(visit, path: str) -> None:
    """It opens, moves by keys, and everyone can read it: on a wide screen and on a phone, in light and dark colours.

    What has nothing to do with colours is looked at in light ones alone.
    """
    page = visit(path)
    assert page.locator("article h1").count() == 1 and page.locator("article h1").inner_text().strip()
    if page.locator("article .math").count():
        page.locator(".math mjx-container").first.wait_for()
        page.evaluate("MathJax.startup.promise")
    assert serious_faults(page, colours=False) == []
    assert altered_pictures(page) == []
    assert page.evaluate(CLIPPED) == []
    parts = page.locator(".dq-live:has(.table-drawing)").all()
    source = (ROOT / path).with_suffix(".ipynb")
    if source.is_file() and "show.moving(" in source.read_text(encoding="utf-8"):
        assert parts
    for part in parts:
        check_keys(part)
        check_pointer(page, part)
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert serious_faults(page, colours=False) == []
    page.evaluate(REMOVE_ALIKE)
    for scheme, width in (("light", PHONE), ("dark", PHONE), ("dark", WIDE), ("light", WIDE)):
        page.set_viewport_size({"width": width, "height": 900})
        change_colours(page, scheme)
        assert serious_faults(page, others=False) == []
        if (scheme, width) == ("dark", WIDE):
            assert altered_pictures(page) == []
    assert page.problems == [] and page.strangers == set()


def check_search(visit) -> None:
    """Its search finds something."""
    page = visit("search.html?q=difficulty")
    page.locator("#search-results li").first.wait_for()
    for scheme in ("light", "dark"):
        change_colours(page, scheme)
        assert serious_faults(page) == []
    assert page.problems == [] and page.strangers == set()


def change_colours(page, scheme: str) -> None:
    """The reader's system turns light or dark, and the page with it."""
    page.emulate_media(color_scheme=scheme)
    page.locator(f"html[data-theme={scheme}]").wait_for()
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert (red + green + blue < 3 * 128) == (scheme == "dark")


def serious_faults(page, colours: bool = True, others: bool = True) -> list[tuple]:
    """What keeps someone from reading the page as it stands, by axe: what has to do with its colours, and what not."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
        # A colour on its way to another is not one that readers read.
        page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    faults = []
    if colours:
        page.evaluate(MARK_KINDS)
        faults += violations(page, {"include": [["[data-kind]"]]}, runOnly=COLOURS)
    if others:
        faults += violations(page, {"exclude": []}, rules={rule: {"enabled": False} for rule in COLOURS})
    serious = [fault for fault in faults if fault["impact"] in SERIOUS]
    found = [(fault["id"], *node["target"]) for fault in serious for node in fault["nodes"]]
    return [fault for fault in found if fault not in NOT_OURS]


def violations(page, where: dict, **options) -> list[dict]:
    ask = "([where, options]) => axe.run(where, options).then((told) => told.violations)"
    return page.evaluate(ask, [where, AXE | options])


def altered_pictures(page, most: int = 6) -> list[str]:
    """Pictures that look otherwise than their files do, as a negative does; of each kind the first are looked at."""
    altered = []
    for kind in ("article img[src^='data:']", "article svg image"):
        for picture in [each for each in page.locator(kind).all() if each.is_visible()][:most]:
            source = picture.evaluate("e => e.src || e.href.baseVal")
            views = (base64.b64decode(source.partition("base64,")[2]), picture.screenshot())
            file, seen = (np.array(Image.open(io.BytesIO(view)).convert("L").resize((8, 8))) for view in views)
            # A figure's file may stand on its head; of one shade there is nothing to compare.
            if file.std() and max(np.corrcoef(each.ravel(), seen.ravel())[0, 1] for each in (file, file[::-1])) < 0.5:
                altered.append(picture.get_attribute("alt") or source[:60])
    return altered


def told(part) -> dict:
    """What a moving part looks up."""
    return json.loads(part.locator("xpath=..").locator("script[type='application/json']").text_content())


def check_keys(part) -> None:
    """Every position of every control is reached by keys alone, and shows the frame that the table has for it."""
    table = told(part)
    controls, known = part.locator("input").all(), [control["names"] for control in table["controls"]]
    labels = [part.locator(f"label[for='{control.get_attribute('id')}']").inner_text() for control in controls]
    assert labels and all(label.strip() for label in labels)
    positions = itertools.product(*(range(len(names)) for names in known))
    # Of hundreds of points, each with a press of a key, the first are enough.
    for frame, places in itertools.islice(zip(table["frames"], positions, strict=True), 5 if table["points"] else None):
        for control, place, names in zip(controls, places, known, strict=True):
            move_by_keys(control, place)
            assert control.get_attribute("aria-valuetext") == names[place]
        drawing, sentence = frame
        assert part.locator(".dq-status").inner_text() == sentence
        shown = part.locator(".table-drawing")
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
    ground, answer = part.locator(".table-ground"), part.locator(".dq-status")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    for k in alone[:5]:
        x, y = points[k]
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        picture, sentence = table["frames"][k]
        assert answer.inner_text() == sentence == part.locator(".table-drawing img").get_attribute("alt")
        assert part.locator(".table-drawing img").get_attribute("src") in picture
        assert int(part.locator("input").input_value()) == k
        mark = part.locator(".table-mark").bounding_box()
        assert abs(mark["x"] + mark["width"] / 2 - box["x"] - x * box["width"]) < 1
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert answer.inner_text() == table["frames"][alone[4]][1], "a corner without points leaves what was shown"
