"""What callers give by keyword: told by ``help``, misspelt names answered, seeds and numbers of arrays made plain."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar, cast

import torch

from dqroute.core.checks import choose, shown

F = TypeVar("F", bound=Callable[..., Any])
# By how a parameter's type is written, what it takes, and how that is called.
KINDS: dict[str, tuple[Any, str]] = {
    "bool": (bool, "True or False"),
    "bool | None": (bool | None, "True, False or None"),
    "str | os.PathLike[str] | None": (str | os.PathLike | None, "a path"),
    "PathLike | None": (str | os.PathLike | None, "a path"),
    "Lists | None": (str | os.PathLike | Mapping | None, "a folder, or {'train': PATH, 'test': PATH}"),
    "PathLike | Sequence[str] | None": (str | os.PathLike | Sequence | None, "names in label order, or a file of them"),
    "Mapping[str, str] | None": (Mapping | None, "a dictionary, such as {'path': 'Datei', 'label': 'Art'}"),
    "str | float | bool | None": (str | Real | None, "a pattern, a number of seconds, or False for no groups"),
}


def tell_options(function: F, taken: Iterable[inspect.Parameter]) -> None:
    """Have ``help`` and tab completion tell what a function takes through its ``**options``, by keyword.

    A name that is taken more than once, with other defaults, is shown with ``...`` for its default.
    """
    *own, rest = inspect.signature(function).parameters.values()
    told: dict[str, inspect.Parameter] = {}
    for parameter in taken:
        before = told.get(parameter.name, parameter)
        default = before.default if before.default == parameter.default else ...
        told[parameter.name] = parameter.replace(kind=parameter.KEYWORD_ONLY, default=default)
    for parameter in own:
        told.pop(parameter.name, None)
    function.__signature__ = inspect.signature(function).replace(  # type: ignore[attr-defined]
        parameters=[*own, *told.values(), rest]
    )


def names_checked(function: F) -> F:
    """The function, which tells of an argument that it does not have by :func:`choose`, and checks kinds.

    TypeError for one that is given by its place, and wants its name.
    """
    taken = inspect.signature(function).parameters
    placed = [p.name for p in taken.values() if p.kind is not p.KEYWORD_ONLY]

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            choose(f"argument of {function.__name__}", name, taken)
        if len(args) > len(placed):
            named = ", ".join(f"{name}=" for name in taken if name not in placed)
            raise TypeError(
                f"{function.__name__} takes {' and '.join(placed)}, and by name {named}; got {len(args)} without a name"
            )
        check_kinds(taken.values(), kwargs)
        with torch.inference_mode(False):  # in which nothing can be fitted
            return function(*args, **kwargs)

    return cast(F, checked)


def check_kinds(taken: Iterable[inspect.Parameter], given: Mapping[str, Any]) -> None:
    """ValueError naming what is given and is not of its parameter's kind, of those in ``KINDS``: Python takes any."""
    for parameter in taken:
        kind, words = KINDS.get(inspect.formatannotation(parameter.annotation).strip("'"), (object, ""))
        if parameter.name in given and not isinstance(plain(given[parameter.name]), kind):
            raise ValueError(f"{parameter.name} is {words}; got {shown(given[parameter.name])}")


def plain(value: Any) -> Any:
    """A number out of an array as Python's own, which JSON can carry; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def checked_seed(seed: object) -> int:
    """The seed as a plain int; ValueError unless it is a whole number from 0 that torch takes."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= int(seed) < 2**63:
        raise ValueError(f"a seed is a whole number from 0 and below 2**63; got {seed!r}")
    return int(seed)
