"""Guarding a notebook's parameters: papermill only warns of a name that the notebook does not have."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from dqroute.core.checks import choose
from dqroute.methods.base import method_options
from dqroute.sweep.notebook import json_or_text


def refuse_unknown(namespace: Mapping[str, Any]) -> None:
    """Raise ValueError if papermill injected a parameter that the notebook, whose ``globals()`` these are, has not."""
    # In IPython's history of the cells, papermill's follows the one that sets the parameters.
    for before, cell in pairwise(namespace.get("In", [])):
        if cell.startswith("# Parameters"):
            for name in assigned(cell):
                choose("parameter", name, assigned(before))


def assigned(cell: str) -> list[str]:
    """The names that a cell gives values."""
    targets = [target for node in ast.parse(cell).body if isinstance(node, ast.Assign) for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def as_list(value: Any) -> list[Any]:
    """A list as it is, ``"a, b"``, as of ``papermill -p``, ``"[a, b]"`` or JSON as two, anything else as one."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, (list, tuple)) else [value]
    inner = value.strip().removeprefix("[").removesuffix("]")
    values = json_or_text(f"[{inner}]")
    if isinstance(values, list):
        return values
    return [part.strip() for part in inner.split(",") if part.strip()]


def as_method(text: str) -> tuple[str, dict[str, Any]]:
    """``"dqroute alpha=0.3 judge=training"`` as a method's name and options, values in JSON or plain text.

    ValueError for a name or an option that there is not, naming the valid ones.
    """
    name, *pairs = text.split() or [""]
    known, options = method_options(name), {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"options of a method are written name=value, as in 'dqroute alpha=0.3'; got {text!r}")
        choose(f"option of {name}", option, known)
        if option in options:
            raise ValueError(f"{option} is given twice in {text!r}")
        options[option] = json_or_text(value)
    return name, options


def distinct(what: str, values: list[Any]) -> list[Any]:
    """The values; ValueError if there is none, or one twice."""
    if not values or any(values.count(value) > 1 for value in values):
        raise ValueError(f"{what} must name at least one and none twice; got {values}")
    return values


def as_options(value: Any, what: str = "options") -> dict[str, Any]:
    """A dictionary as it is or written as JSON: for ``papermill -p options '{"size": 64}'``; ValueError otherwise."""
    such = {"columns": {"path": "Datei", "label": "Art"}, "settings": {"epochs": 30}}.get(what, {"size": 64})
    options = json_or_text(value) if isinstance(value, str) else value
    if not isinstance(options, dict):
        raise ValueError(f"{what} are written as JSON, such as '{json.dumps(such)}'; got {value!r}")
    return options
