"""What callers give by keyword: told by ``help``, misspelt names answered, seeds and numbers of arrays made plain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from numbers import Integral
from typing import Any, TypeVar, cast

from dqroute.core.checks import choose

F = TypeVar("F", bound=Callable[..., Any])


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
    """The function, which tells of an argument that it does not have by :func:`choose`."""
    valid = list(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            choose(f"argument of {function.__name__}", name, valid)
        return function(*args, **kwargs)

    return cast(F, checked)


def plain(value: Any) -> Any:
    """A number out of an array as Python's own, which JSON can carry; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def checked_seed(seed: object) -> int:
    """The seed as a plain int; ValueError unless it is a whole number from 0 that torch takes."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= int(seed) < 2**63:
        raise ValueError(f"a seed is a whole number from 0 and below 2**63; got {seed!r}")
    return int(seed)
