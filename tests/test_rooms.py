"""The package's rooms: nobody imports upwards or in a circle, the core is small, on torch alone, importing is cheap."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dqroute

PACKAGE = Path(dqroute.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path, at_once: bool = False) -> set[str]:
    """The modules that a file imports; with ``at_once`` only those it needs to be loaded itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_once else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inside}
    return found


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != PACKAGE], ids=name_of)
def test_a_room_imports_from_the_rooms_before_it(path):
    own = dqroute.ROOMS.index(room_of(name_of(path)))
    for module in imports(path):
        if module.startswith("dqroute."):
            assert dqroute.ROOMS.index(room_of(module)) <= own, f"{name_of(path)} imports {module}"
        assert module != "dqroute", f"{name_of(path)} imports the public names, which stand above all rooms"


def test_no_file_imports_in_a_circle():
    graph = {name: {m for m in imports(path, at_once=True) if m in MODULES} - {name} for name, path in MODULES.items()}
    assert tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", ["core", "measures"])
def test_core_and_measures_stand_on_torch_alone(room):
    outside = {module.split(".")[0] for path in (PACKAGE / room).glob("*.py") for module in imports(path)}
    assert outside - set(sys.stdlib_module_names) - {"dqroute"} == {"torch"}


def test_the_core_stays_small():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (PACKAGE / "core").glob("*.py")) <= 1300


@pytest.mark.parametrize("room", dqroute.ROOMS)
def test_each_room_says_what_lives_there_and_what_it_may_import(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))
    first = (text or "").split("\n\n")
    assert first[0] and len(" ".join(first[:3]).splitlines()) <= 8
    assert "import" in text.lower()


def test_the_package_shows_its_public_names_and_its_rooms():
    assert dir(dqroute) == sorted([*dqroute.__all__, *dqroute.ROOMS])
    assert set(dqroute.__all__) == set(dqroute.PUBLIC) and len(dqroute.__all__) <= 16
    assert {p.relative_to(PACKAGE).parts[0] for p in FILES if p.parent != PACKAGE} == set(dqroute.ROOMS)
    for name in dqroute.__all__:
        assert getattr(dqroute, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        dqroute.fitt  # noqa: B018


def loaded_after(code: str, **environment: str) -> set[str]:
    """The packages that a fresh process has loaded after some lines."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_costs_next_to_nothing_and_a_training_loads_no_tables_or_figures():
    assert not loaded_after("import dqroute") & {"torch", "numpy", "pandas"}
    heavy = {"pandas", "sklearn", "scipy", "torchvision", "matplotlib", "accelerate", "torchmetrics", "lightning"}
    assert not loaded_after("import dqroute as dq\ndq.fit, dq.load, dq.Run, dq.METHODS") & heavy
    assert "safetensors" not in loaded_after("import dqroute.core")
