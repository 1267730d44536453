"""The grid of a sweep: a few lines of YAML become one task a run, and whatever is wrong with them is named at once.

.. code-block:: yaml

    data:
      - digits                     # a name that dq.load knows, or folder:PATH, list:PATH, …
      - glyphs: {imbalance: 50}    # or one with options of dq.load
    methods:
      - cross-entropy
      - dqroute: {alpha: 0.3}      # or one with options of the method
    seeds: [0, 1, 2]
    settings:                      # may be left out: preset, epochs, lr, ...
      - {epochs: 12}
      - {epochs: 30}

Every data set is combined with every method, seed and entry of the settings. ``split: val`` takes the table from the
validation images, to choose a setting by.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dqroute.core.checks import checked_seed, choose, one_line
from dqroute.core.long_tail import shot_groups
from dqroute.data import DATA_SETS, checked_imbalance, checked_val
from dqroute.methods.base import METHODS, Problem, method_options
from dqroute.models.experts import backbone_names
from dqroute.models.pretrained import IMAGENET
from dqroute.runs.run import canonical
from dqroute.sweep.parameters import distinct
from dqroute.training.settings import Settings, training_settings

KEYS = ("data", "methods", "seeds", "settings", "split")
EXAMPLES = {
    "data": "[digits, glyphs: {imbalance: 50}]",
    "methods": "[cross-entropy, dqroute: {alpha: 0.3}]",
    "seeds": "[0, 1, 2]",
    "settings": "[{epochs: 12}, {epochs: 30}]",
}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


@dataclass(frozen=True)
class Task:
    """One run: a method from one seed on one data set.

    Attributes:
        data, row: names of the data set and of the table's row: the method, and what sets it apart in the grid.
        load: what :func:`dqroute.load` is given.
        method, seed, fit: what :func:`dqroute.fit` is given, ``fit`` by name.
        split: which images the table is about.
    """

    data: str
    row: str
    load: dict[str, Any]
    method: str
    seed: int
    fit: dict[str, Any]
    split: str

    def __str__(self) -> str:
        return f"{self.data} · {self.row} · seed {self.seed}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The benchmark notebook's parameters that ask for this run."""
        options, settings = dict(self.load), dict(self.fit)
        loaded = {"dataset": options.pop("name"), "root": options.pop("root", None)}
        loaded |= {"imbalance": options.pop("imbalance"), "options": options}
        fitted = {"preset": settings.pop("preset", "laptop"), "epochs": settings.pop("epochs", None)}
        return (
            loaded
            | {"methods": [self.method], "seeds": [self.seed], "split": self.split, "settings": settings}
            | fitted
        )

    @property
    def name(self) -> str:
        """A name for files, readable and different wherever a parameter is."""
        digest = hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.=]+", "-", f"{self.data} {self.row}").strip("-.")[:100]
        return f"{readable}-seed{self.seed}-{digest}"


@dataclass(frozen=True)
class Entry:
    """An entry of one of the grid's lists.

    Attributes:
        name: of the data set or method; empty for settings.
        given: what stands in the grid, or what it means here (absolute paths, the imbalance filled in).
        meaning: all that it comes to, defaults included: entries that differ only in words have the same.
        label: as the table shows it.
    """

    name: str
    given: dict[str, Any]
    meaning: dict[str, Any]
    label: str


def read_grid(path: str | os.PathLike[str]) -> list[Task]:
    """Read a grid file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: for anything in it that cannot be run, saying what would be valid.
    """
    try:
        return parse_grid(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_grid(text: str) -> list[Task]:
    """The tasks of a grid, in the order of its data sets and seeds, no two of them the same run.

    Raises:
        ValueError: if the text is not YAML, names something unknown, of the wrong type, out of range or twice, or
            asks for no run at all.
    """
    grid = load_yaml(text)
    if not isinstance(grid, dict):
        raise ValueError(f"a grid has the keys {', '.join(KEYS)}; got {shown(grid)}")
    for key in grid:
        choose("key", key, KEYS)
    data = entries(grid, "data", data_entry)
    methods = entries(grid, "methods", method_entry)
    settings = entries({"settings": [{}]} | grid, "settings", settings_entry)
    seeds = distinct("seeds", [checked_seed(seed) for seed in items({"seeds": [0]} | grid, "seeds")])
    split = choose("split", grid.get("split", "test"), ("test", "val"))

    def task(image_set: Entry, seed: int, method: Entry, setting: Entry) -> Task:
        row = ", ".join(part for part in (method.label, setting.label) if part) if len(settings) > 1 else method.label
        load = {"name": image_set.name} | image_set.given
        return Task(image_set.label, row, load, method.name, seed, method.given | setting.given, split)

    return [task(*chosen) for chosen in product(data, seeds, methods, settings)]


def load_yaml(text: str) -> Any:
    """YAML 1.2, a key given twice being an error.

    Raises:
        ValueError: with the line, if it is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"not readable YAML ({where}{getattr(error, 'problem', None) or one_line(error)})") from error


def items(grid: dict[str, Any], key: str) -> list[Any]:
    """The list under a key; ValueError if there is none or nothing in it."""
    if not isinstance(grid.get(key), list) or not grid[key]:
        got = f"got {shown(grid[key])}" if key in grid else "it is not there"
        raise ValueError(f"{key} must be a list with something in it, such as {EXAMPLES[key]}; {got}")
    return grid[key]


def entries(grid: dict[str, Any], key: str, entry: Callable[[Any], Entry]) -> list[Entry]:
    """The entries of a list; ValueError if two of them mean the same."""
    found: list[Entry] = []
    for item in items(grid, key):
        new = entry(item)
        for old in found:
            if (old.name, canonical(old.meaning)) == (new.name, canonical(new.meaning)):
                first, second = (shown(each.label or "{}") for each in (old, new))
                raise ValueError(f"{key} has the same twice, {first} and {second}; remove one")
        found.append(new)
    return found


def data_entry(item: Any) -> Entry:
    """A data set, and how it is to be loaded."""
    name, given = name_and_options("data", item)
    label = labelled(name, given)
    kind, _, path = name.partition(":")
    if not path or kind not in DATA_SETS:
        choose(
            "data set",
            name,
            [*(known for known in DATA_SETS if known not in ("folder", "list")), "folder:PATH", "list:PATH"],
        )
    load = DATA_SETS[kind]
    hints = options_of(load)
    untyped = [option for option in inspect.signature(load).parameters if option not in hints]
    if untyped:
        raise ValueError(f"grids check options by their types; {', '.join(untyped)} of {name} have none in the code")
    # The notebook draws the training images from seed 0, so that all runs of a data set share them.
    del hints["seed"]
    if path and hints.pop("root", None) is None:
        raise ValueError(f"{kind} lies in no folder; leave {path!r} out")
    check_options(name, given, hints)
    defaults = {n: p.default for n, p in inspect.signature(load).parameters.items() if n != "seed"}
    given = {"imbalance": defaults["imbalance"]} | given
    checked_imbalance(given["imbalance"])
    checked_val(given.get("val"))
    # Workers may run in another folder.
    if path:
        name = f"{kind}:{absolute(path)}"
    if isinstance(given.get("root"), str):
        given["root"] = absolute(given["root"])
    given |= {option: absolute_all(given[option]) for option in ("lists", "class_names") if option in given}
    return Entry(name, given, defaults | given, label)


def method_entry(item: Any) -> Entry:
    """A method and its options."""
    name, given = name_and_options("methods", item)
    own = method_options(name)
    hints = options_of(METHODS[name].__init__)
    check_options(name, given, {option: hints[option] for option in own})
    # All shot groups, and classes enough for any number of experts: a value out of range is refused by this problem.
    counts = torch.tensor([200, 50, 10]).repeat_interleave(16)
    with torch.random.fork_rng(devices=[]):
        METHODS[name](Problem(counts, shot_groups(counts), 1, (0.0,), (1.0,)), **given)
    return Entry(name, given, own | given, labelled(name, given))


def settings_entry(item: Any) -> Entry:
    """Training settings."""
    if not isinstance(item, dict):
        raise ValueError(f"an entry of settings is written {{epochs: 30}}; got {shown(item)}")
    check_options("settings", item, {"preset": str} | get_type_hints(Settings))
    label = labelled("", item)
    if item.get("pretrained") not in (None, "", IMAGENET):
        item = item | {"pretrained": absolute_all(item["pretrained"])}
    training = {name: value for name, value in item.items() if name != "preset"}
    meaning = training_settings(item.get("preset", "laptop"), training).decisive()
    choose("backbone", meaning["backbone"], backbone_names())
    return Entry("", item, meaning, label)


def name_and_options(key: str, item: Any) -> tuple[str, dict[str, Any]]:
    """``name`` or ``name: {option: value}``."""
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        ((name, options),) = item.items()
        if isinstance(name, str) and isinstance(options, dict):
            return name, options
    raise ValueError(f"an entry of {key} is a name, alone or with options, as in {EXAMPLES[key]}; got {shown(item)}")


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters, by name."""
    return {name: hint for name, hint in get_type_hints(function).items() if name != "return"}


def check_options(owner: str, given: dict[str, Any], hints: dict[str, Any]) -> None:
    """Raise ValueError for an option that is unknown or of another type than its hint."""
    for option, value in given.items():
        choose(f"option of {owner}", option, hints)
        kinds = [get_origin(kind) or kind for kind in get_args(hints[option]) or (hints[option],)]
        # To Python true is a whole number, and a whole number no float.
        fitting = kinds if not isinstance(value, bool) else [kind for kind in kinds if kind is bool]
        if not isinstance(value, tuple(fitting)) and not (type(value) is int and float in kinds):
            valid = " or ".join(dict.fromkeys(WORDS[kind] for kind in kinds if kind in WORDS))
            raise ValueError(f"{option} of {owner} must be {valid}; got {shown(value)}")


def absolute(path: str) -> str:
    """The path from the root, links followed and ``~`` put in full."""
    return os.path.realpath(os.path.expanduser(path))


def absolute_all(paths: Any) -> Any:
    """A path, or the paths of a mapping, made absolute; anything else as it is.

    Links are not followed: what they lead to may have another ending, by which files are told apart.
    """
    if isinstance(paths, dict):
        return {name: absolute_all(path) for name, path in paths.items()}
    return os.path.abspath(os.path.expanduser(paths)) if isinstance(paths, str) else paths


def labelled(name: str, given: dict[str, Any]) -> str:
    """``"dqroute, alpha=0.3"``."""
    return ", ".join([name] * bool(name) + [f"{option}={value}" for option, value in given.items()])


def shown(value: Any) -> str:
    """A value in a message, cut short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
