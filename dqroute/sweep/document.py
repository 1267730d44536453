"""A grid file as plain values. What is too large to be one is refused before it is built, and before torch loads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

BYTES, DEPTH, LETTERS, NUMBER = 20_000, 10, 2_000, 2**63


def parse_document(text: str) -> Any:
    """YAML 1.2 as plain values; ValueError in one line for anything else, a key given twice, or more than a grid."""
    if len(text) > BYTES:
        raise ValueError(f"a grid has at most {BYTES:,} bytes")
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            for refused, why in (
                (getattr(event, "anchor", None), "a grid takes no & and no *; write out what they stand for"),
                (depth > DEPTH, f"a grid is nested at most {DEPTH} deep"),
                (len(getattr(event, "value", "")) > LETTERS, f"a value has at most {LETTERS:,} letters"),
            ):
                if refused:
                    raise MarkedYAMLError(problem=why, problem_mark=event.start_mark)
        document = YAML(typ="safe", pure=True).load(text)
    # From odd values its constructors let through whatever Python raises.
    except Exception as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"not readable as a grid ({where}{' '.join(str(problem).split())})") from None
    check_numbers(document, "a number")
    return document


def check_numbers(value: Any, name: object) -> None:
    """Raise ValueError for a number that is infinite, NaN or beyond 64 bits, naming its key."""
    if isinstance(value, dict):
        for key, inner in value.items():
            check_numbers(inner, key if str(key).isprintable() else repr(key))
    elif isinstance(value, list):
        for inner in value:
            check_numbers(inner, name)
    elif isinstance(value, (int, float)) and not -NUMBER <= value < NUMBER:
        raise ValueError(f"{name} must be a finite number, below 2**63 in size; got {str(value)[:40]}")


def read_document(path: str | os.PathLike[str], parse: Callable[[str], Any] = parse_document) -> Any:
    """What ``parse`` makes of a file; OSError if it cannot be read, ValueError that names it for what is in it."""
    with open(path, "rb") as file:
        content = file.read(BYTES + 1)
    try:
        return parse(content.decode())
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
