"""Guarding a notebook's parameters: papermill only warns of a name that the notebook does not have."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

INJECTED = "# Parameters"


def refuse_unknown(namespace: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise ValueError if papermill injected a parameter that the notebook does not know.

    Args:
        namespace: the notebook's ``globals()``; papermill's cell is found in IPython's input history there.
        known: the names of the notebook's parameters.
    """
    valid = list(known)
    cells: Sequence[str] = namespace.get("In", [])
    for source in cells:
        if not source.startswith(INJECTED):
            continue
        assigned = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
        names = [target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)]
        unknown = [name for name in names if name not in valid]
        if unknown:
            raise ValueError(f"unknown parameter {', '.join(unknown)}; this notebook takes {', '.join(valid)}")


def as_list(value: Any) -> list[Any]:
    """A list as it is, ``"a, b"`` or ``'["a", "b"]'`` as two names, anything else as a list of one.

    For ``papermill -p methods a,b``: papermill's ``-p`` knows no lists. ``"[a, b]"``, which is no JSON, is two names
    as well.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, str):
        parts = [part.strip() for part in value.strip().removeprefix("[").removesuffix("]").split(",")]
        return [int(part) if part.lstrip("-").isdigit() else part for part in parts if part]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def distinct(what: str, values: list[Any]) -> list[Any]:
    """The values; ValueError if there is none, or one twice."""
    twice = [value for value in values if values.count(value) > 1]
    if not values or twice:
        raise ValueError(f"{what} must name at least one and none twice; got {values}")
    return values


def as_options(value: Any, what: str = "options") -> dict[str, Any]:
    """A dictionary as it is, and one written as JSON: for ``papermill -p options '{"size": 64}'``.

    Raises:
        ValueError: for anything else.
    """
    try:
        options = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ValueError(f"{what} are written as JSON, such as '{{\"size\": 64}}'; got {value!r}")
    return options
