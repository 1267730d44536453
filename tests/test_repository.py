"""What belongs to the repository as a whole: workflows, notebooks, the table of contents, versions, paths."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from build_book import ROOT

PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def repository_files() -> list[Path]:
    """Every file git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "schema, files", [("github-workflows", WORKFLOWS), ("citation-file-format", [ROOT / "CITATION.cff"])]
)
def test_file_follows_its_schema(schema, files):
    # The schemas come with the package; no network is needed.
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_are_four_workflows():
    assert [path.stem for path in WORKFLOWS] == ["book", "gpu", "test", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_existing_targets(path):
    targets = make_targets()
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
        for step in job["steps"]:
            for target in re.findall(r"\bmake (\w+)", step.get("run", "")):
                assert target in targets


def test_the_weekly_workflow_takes_three_systems_and_the_oldest_and_newest_torch():
    jobs = yaml.safe_load(text_of(".github/workflows/weekly.yml"))["jobs"]
    systems = jobs["systems"]["strategy"]["matrix"]["system"]
    assert {name.split("-")[0] for name in systems} == {"ubuntu", "macos", "windows"}
    allowed = dict(line.split(">=") for line in PACKAGE["dependencies"] if line.startswith("torch"))
    oldest = f"torch=={allowed['torch']}.* torchvision=={allowed['torchvision']}.*"
    assert jobs["torch"]["strategy"]["matrix"]["packages"] == [oldest, "--upgrade torch torchvision"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_every_chapter_exists():
    toc = yaml.safe_load(text_of("_toc.yml"))
    for name in [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]:
        assert any((ROOT / f"{name}{ending}").is_file() for ending in (".md", ".ipynb")), name


def test_one_version_everywhere():
    version = PACKAGE["version"]
    assert str(yaml.safe_load(text_of("CITATION.cff"))["version"]) == version
    assert re.search(r"^## \[([^]]+)\] - ", text_of("CHANGELOG.md"), flags=re.MULTILINE)[1] == version


def test_every_requirement_is_pinned():
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()

    pinned = {plain(line) for line in text_of("constraints.txt").splitlines() if line and not line.startswith("#")}
    extras = PACKAGE["optional-dependencies"].values()
    wanted = {plain(name) for group in [PACKAGE["dependencies"], *extras] for name in group}
    assert wanted <= pinned
    # torch decides which GPU libraries it needs on each platform.
    assert not [name for name in pinned if name.startswith(("nvidia-", "cuda-", "triton"))]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "book/intro.md"])
def test_every_make_target_named_in_prose_exists(name):
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text_of(name), flags=re.MULTILINE))
    assert named
    assert named <= make_targets()


def test_make_alone_lists_every_target():
    listed = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"^make (\w+) ", listed.stdout, flags=re.MULTILINE)) == make_targets()


def test_no_path_of_a_machine():
    absolute = re.compile(r"(?<![\w.:/~$}-])/(?:home|root|Users|work)/[\w.]|[A-Z]:\\Users\\")
    found = []
    for path in repository_files():
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in absolute.findall(content)]
    assert not found
