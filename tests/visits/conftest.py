"""Readers of the built book, in a real browser."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import find_browser, on_build_server
from visiting import WIDE

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


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), functools.partial(QuietHandler, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    program = find_browser()
    if program is None:
        (pytest.fail if on_build_server() else pytest.skip)("no Chromium; `make browser` tries to install one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Open a page in light colours; gather what goes wrong and who is asked for something."""
    opened = []

    def open_page(path: str):
        page = chromium.new_page(viewport={"width": WIDE, "height": 900}, color_scheme="light")
        # What never comes must not keep the tests for ever; a busy machine may take its time.
        page.set_default_timeout(600_000)
        opened.append(page)
        page.problems, page.strangers = [], set()
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("response", lambda r: page.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: note_stranger(page.strangers, r.url))
        page.goto(f"{address}/{path}")
        return page

    yield open_page
    for page in opened:
        page.close()


@pytest.fixture
def opened(chromium):
    """Open a figure in a page of its own, without motion; nothing may go wrong there, and nobody be asked."""
    pages = []

    def open_page(figure: str, width: int = 900, **context):
        page = chromium.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce", **context)
        pages.append(page)
        page.set_default_timeout(600_000)
        page.problems = []
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda r: page.problems.append(r.url) if r.url.startswith("http") else None)
        ground = "background: #14181e; color: #dde1e8" if context.get("color_scheme") == "dark" else ""
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Figure</title>'
        body = f'<body style="{ground}"><main><h1>Figure</h1>{figure}</main></body>'
        page.set_content(f'<!doctype html><html lang="en"><head>{head}</head>{body}</html>')
        return page

    yield open_page
    for page in pages:
        assert page.problems == []
        page.close()


def note_stranger(strangers: set[str], url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "localhost":
        strangers.add(url)
