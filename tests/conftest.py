"""What the tests share: a real image set that trains in a fraction of a second, and runs of it."""

import os
import shutil
import signal
import sys

os.environ["MPLBACKEND"] = "Agg"
# One and the same device for all, whatever the machine has.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Other work may share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_book
import hypothesis
import pytest
import torch
from filelock import FileLock
from training import QUICK, make_tiny

import dqroute as dq
from dqroute.data.image_set import ImageSet
from dqroute.methods.base import METHODS, Method, Problem

# Checks that stand in a module beside the tests say what they found, too.
pytest.register_assert_rewrite("visiting")
# A shell that starts the tests in the background has Ctrl-C ignored, and so would all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The networks are tiny, and other work may share the cores: more threads only cost.
torch.set_num_threads(1)
# A slow moment of the machine is not a failure of a property.
hypothesis.settings.register_profile("dqroute", deadline=None)
hypothesis.settings.load_profile("dqroute")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip on Windows what it cannot do. Build the book first, visit it last: no process waits for another's build.

    Its pages come at the very end, so that the processes end together.
    """
    last = {"test_book.py": -1, "test_pages.py": 2}
    items.sort(key=lambda item: last.get(item.path.name, item.path.parent.name == "visits"))
    if sys.platform == "win32":
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(
                    pytest.mark.skip(reason="Windows lacks these signals, limits, forks or replacing of open files")
                )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Processes take a file each, one after the other, but of the book's pages, which have nothing in common, one."""
    from xdist.scheduler import LoadFileScheduling

    class PageByPage(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return nodeid if file.endswith("test_pages.py") else file

    return PageByPage(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def tiny() -> ImageSet:
    """A small long-tailed set of real images, with a validation split."""
    return make_tiny()


@pytest.fixture(scope="session")
def tiny_without_val() -> ImageSet:
    return make_tiny(val=None)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """An empty folder for runs."""
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def trained(tiny: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> list[dq.Run]:
    """Evaluated two-epoch runs of two methods from two seeds; read them, do not change them."""
    folder = tmp_path_factory.mktemp("trained")
    runs = [
        dq.fit(method, tiny, seed=seed, epochs=2, runs_dir=folder, **QUICK)
        for seed in (0, 1)
        for method in ("cross-entropy", "dqroute")
    ]
    for run in runs:
        dq.evaluate(run, device="cpu")
    return runs


@pytest.fixture(scope="session")
def quick() -> dict:
    """Settings for ``dq.fit``: a small network, 32-bit numbers, the CPU, no progress bar."""
    return QUICK


@pytest.fixture(scope="module")
def problem(tiny: ImageSet) -> Problem:
    """What a method has to know of it."""
    return Problem(tiny.counts, tiny.groups, 1, (80.0,), (90.0,))


@pytest.fixture
def registry() -> Iterator[dict[str, type[Method]]]:
    """The methods; as they were, afterwards."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)


@pytest.fixture
def batch(tiny: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of every class."""
    labels = tiny.train.labels
    index = torch.cat([(labels == c).nonzero().flatten()[:2] for c in range(10)])
    return tiny.train.images[index], labels[index]


@pytest.fixture(scope="session")
def html(testrun_uid) -> Path:
    """The book's pages, a warning being an error: built once for all processes, where `make book` builds.

    Notebooks are executed where their cells or the package changed, so that what one has executed the other finds.
    """
    mark = build_book.ROOT / "_build" / ".tested-in"
    mark.parent.mkdir(exist_ok=True)
    with FileLock(mark.with_suffix(".lock")):
        if not (mark.is_file() and mark.read_text() == testrun_uid):
            before = published()
            assert build_book.build_book() == 0, "the book does not build; its log is above"
            assert published() == before, "chapters train in a folder of their own; every run on a page is published"
            mark.write_text(testrun_uid)
    return mark.parent / "html"


def published() -> dict[str, int]:
    """The files in book/results and when they were written."""
    return {str(path): path.stat().st_mtime_ns for path in build_book.RESULTS.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True, scope="session")
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of features of this test run's own."""
    place = tmp_path_factory.mktemp("cache")
    os.environ["DQROUTE_CACHE"] = str(place)
    return place


@pytest.fixture(autouse=True)
def no_features_left(feature_cache: Path) -> None:
    """Each test begins with an empty one."""
    shutil.rmtree(feature_cache, ignore_errors=True)
