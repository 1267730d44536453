"""Checks of what a caller gives: known names, numbers in range. Each says what would be valid."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from math import inf, nan
from numbers import Integral, Number, Real
from types import NoneType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

LISTED = 60  # names that a message tells in full
F = TypeVar("F", bound=Callable[..., Any])


def choose(kind: str, name: str, valid: Iterable[str]) -> str:
    """The name; ValueError naming an unknown one of its kind ("method"), the likely meaning and all valid names."""
    names = list(valid)
    if isinstance(name, str) and name in names:
        return name
    # A thousand names help nobody.
    near = names if len(names) <= LISTED else [*get_close_matches(str(name)[:LISTED], names, n=5, cutoff=0), "…"]
    raise ValueError(f"unknown {kind} {shown(name)}{meant(name, names)}; the valid ones are {', '.join(near)}")


def meant(name: object, valid: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"``, x the nearest of the valid names, for a message; ``""`` where none is near."""
    # Nobody means other names by capitals, or by a line below.
    names = {valid_name.casefold().replace("_", "-"): valid_name for valid_name in valid}
    asked = name.casefold().replace("_", "-") if isinstance(name, str) else ""
    close = get_close_matches(asked, names, n=1)
    return f" (did you mean {names[close[0]]!r}?)" if close else ""


def shown(value: object) -> str:
    """A value in a message, cut short; of what is no plain value its kind alone."""
    if not isinstance(value, (str, bytes, Number, list, tuple, dict, set, os.PathLike, NoneType)):
        return f"<{value.__name__ if isinstance(value, type) else type(value).__name__}>"
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python does not write
    return text if len(text) <= 80 else f"{text[:77]}..."


def checked_range(name: str, value: object, low: float, high: float = inf) -> float:
    """The value; ValueError naming it unless it is a number from ``low`` to ``high`` (NaN and infinity are not)."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    # Written so that NaN, which compares false with everything, is refused too.
    if low <= number <= high and number != inf:
        return number
    bound = f"between {low:g} and {high:g}" if high < inf else f"at {low:g} or above, and be finite"
    hint = f" (did you mean {number / 100:g}?)" if high <= 1 < number <= high * 100 else ""
    kind = "lie" if number == number else "be a number" + " (not text)" * isinstance(value, str)
    raise ValueError(f"{name} must {kind} {bound}; got {shown(value)}{hint}")


def checked_whole(name: str, value: object, least: int) -> int:
    """The value as a plain int; ValueError naming it unless it is a whole number from ``least`` on."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, to stand within another message."""
    return " ".join(str(error).split())


def widened(values: Tensor) -> Tensor:
    """The values in 32 bits at least: sums over classes and their logarithms leave the range of fp16 and bf16."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def without_autocast(function: F) -> F:
    """The function as it computes outside of autocast, wherever it is called."""

    @wraps(function)
    def plainly(*args: Any, **kwargs: Any) -> Any:
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        device = next((value.device.type for value in tensors), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return cast(F, plainly)
