"""Guarding a notebook's parameters: papermill only warns of a name that the notebook does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
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
    """A list as it is, ``"a, b"`` as two names, anything else as a list of one: for ``papermill -p methods a,b``."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return [int(part) if part.lstrip("-").isdigit() else part for part in parts if part]
    return list(value) if isinstance(value, (list, tuple)) else [value]
