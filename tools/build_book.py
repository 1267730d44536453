"""Build the book with warnings as errors. `--all` reads every page again, `--output FOLDER` builds elsewhere.

Notebooks train their small networks while the book is built, into book/runs/chapters; the pages on results read
book/results and benchmarks/results. Jupyter Book keeps executed notebooks by their cells alone, so a change in the
package or in the results would go unseen: the executed notebooks, the pages as they were read and the chapters' runs
are dropped when either changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "book" / "results"
SPEED_RESULTS = ROOT / "benchmarks" / "results"
CHAPTER_RUNS = ROOT / "book" / "runs" / "chapters"


def pages() -> list[str]:
    """The book's pages in reading order, by their paths from the root, without endings."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    return list(parse_toc_yaml(ROOT / "_toc.yml"))


def digest() -> str:
    """SHA-256 over everything that notebooks read beside their own cells."""
    state = hashlib.sha256()
    sources = (p for p in (ROOT / "dqroute").rglob("*") if p.suffix in {".py", ".json", ".html", ".css", ".js"})
    results = (p for folder in (RESULTS, SPEED_RESULTS) for p in folder.rglob("*") if p.is_file())
    for path in sorted([*sources, *results]):
        state.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        state.update(path.read_bytes())
    return state.hexdigest()


def drop_stale_notebooks(build: Path) -> None:
    """Clear the cache of executed notebooks, and what they trained, unless it was filled from the present state.

    And the pages as they were read: of a notebook that is as it was nobody would ask again.
    """
    mark, present = build / ".executed-with", digest()
    if not mark.is_file() or mark.read_text() != present:
        for stale in (build / ".jupyter_cache", build / ".doctrees", CHAPTER_RUNS):
            shutil.rmtree(stale, ignore_errors=True)
        mark.write_text(present)


def build_book(output: Path = ROOT, *, everything: bool = False) -> int:
    """Run Jupyter Book; the pages are in `output`/_build/html.

    Returns:
        0 if every page of the table of contents is there, and was built without a warning.
    """
    # Beside Python on most systems, in a folder of their own on Windows.
    program = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    if program is None:
        raise FileNotFoundError("jupyter-book is not installed; install the package with its extra `book`")
    command = [program, "build", str(ROOT), "--path-output", str(output)]
    command += ["-W", "--keep-going", "-n"] + ["--all"] * everything
    # Relative to the notebooks, which run in their own folder: the pages print it.
    environment = os.environ | {"DQROUTE_RUNS": "runs/chapters", "PYTHONUNBUFFERED": "1"}
    # Threads that wait for each other bring a build to a stand where cores are shared; the networks are small.
    environment.setdefault("OMP_NUM_THREADS", "1")
    # A backend chosen outside would take the notebooks' own place, and leave the pages without pictures.
    environment.pop("MPLBACKEND", None)
    build = output / "_build"
    build.mkdir(parents=True, exist_ok=True)
    with FileLock(build / ".lock"):
        drop_stale_notebooks(build)
        # Pages that the book has no longer would stay.
        shutil.rmtree(build / "html", ignore_errors=True)
        status = subprocess.run(command, env=environment).returncode
        missing = [page for page in pages() if not (build / "html" / f"{page}.html").is_file()]
        if missing:
            print("These pages of _toc.yml have no HTML:", ", ".join(missing), file=sys.stderr)
        if status or missing:
            # What was read with a warning is read again the next time, and warned of again.
            shutil.rmtree(build / ".doctrees", ignore_errors=True)
    return status or int(bool(missing))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="read every page again")
    parser.add_argument("--output", type=Path, default=ROOT, help="folder to build in")
    arguments = parser.parse_args()
    sys.exit(build_book(arguments.output.resolve(), everything=arguments.all))
