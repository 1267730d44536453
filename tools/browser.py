"""Find a Chromium for the tests of the built book; as a script, install one if there is none.

Ends with status 0 when the tests can do without: only on a build server (CI=true) is a missing browser an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def on_build_server() -> bool:
    """Whether CI says so."""
    return os.environ.get("CI") == "true"


def candidates() -> Iterator[str]:
    """Programs that may be a Chromium: those on PATH, then playwright's own."""
    yield from filter(None, map(shutil.which, NAMES))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if Path(own).is_file():
        yield own


def starts(program: str) -> bool:
    """Whether it runs at all: Ubuntu's `chromium-browser` may be a mere hint to install something."""
    if sys.platform == "win32":
        return True  # there a browser asked for its version opens a window and does not return
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_browser() -> str | None:
    """The first Chromium that starts, or None."""
    return next(filter(starts, candidates()), None)


def attempts() -> Iterator[list[Sequence[str]]]:
    """Ways to install a Chromium, as commands to run one after the other."""
    yield [(sys.executable, "-m", "playwright", "install", "chromium")]
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        yield [("apt-get", "update", "-qq"), ("apt-get", "install", "-y", "-qq", "chromium")]


def run(command: Sequence[str]) -> bool:
    """Run a command quietly; say whether it succeeded."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(command, capture_output=True, timeout=900, env=environment).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main() -> int:
    found = find_browser()
    for commands in attempts():
        if found:
            break
        print("no Chromium found; trying:", " && ".join(" ".join(command) for command in commands), flush=True)
        if all(map(run, commands)):
            found = find_browser()
    if not found:
        print(
            "no Chromium could be found or installed:",
            "that fails" if on_build_server() else "browser tests will be skipped",
        )
    return int(not found and on_build_server())


if __name__ == "__main__":
    sys.exit(main())
