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
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo

from dqroute.core.checks import checked_range, choose
from dqroute.core.long_tail import shot_groups
from dqroute.data import DATA_SETS, checked_imbalance, checked_val
from dqroute.methods.base import METHODS, Problem
from dqroute.models.backbones import backbone_names
from dqroute.models.pretrained import IMAGENET
from dqroute.runs.run import canonical
from dqroute.sweep.document import parse_document, read_document
from dqroute.sweep.parameters import distinct
from dqroute.training.settings import STRICT, checked, setting_names, shown, training_settings

MOST, RUNS = 256, 10_000
EXAMPLES = {"data": "[digits, glyphs: {imbalance: 50}]", "methods": "[cross-entropy, dqroute: {alpha: 0.3}]"}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}


@dataclass(frozen=True)
class Task:
    """One entry of the grid: a method from one seed on one data set, for one row of its table.

    Attributes:
        load: what :func:`dqroute.load` is given; method, seed, fit: what :func:`dqroute.fit` is given.
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
        given = {"dataset": options.pop("name"), "root": options.pop("root", None)}
        given |= {"imbalance": options.pop("imbalance"), "options": options, "methods": [self.method]}
        given |= {"preset": settings.pop("preset", "laptop"), "epochs": settings.pop("epochs", None)}
        return given | {"seeds": [self.seed], "split": self.split, "settings": settings}

    @property
    def name(self) -> str:
        """A name for files, readable and different wherever a parameter is."""
        digest = hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.=]+", "-", f"{self.data} {self.row}").strip("-.")[:100]
        return f"{readable}-seed{self.seed}-{digest}"


class Entry(NamedTuple):
    """An entry of one of the grid's lists: as it is given and labelled, and all that it means, defaults included."""

    name: str
    given: dict[str, Any]
    meaning: dict[str, Any]
    label: str


def name_and_options(key: str, item: Any) -> tuple[str, dict[str, Any], str]:
    """``name`` or ``name: {option: value}``, and the label ``"name, option=value"``."""
    name, options = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, {})
    if not (isinstance(name, str) and isinstance(options, dict)):
        raise ValueError(f"an entry of {key} is a name, or one with options, as in {EXAMPLES[key]}; got {shown(item)}")
    return name, options, labelled(name, options)


def labelled(name: str, given: dict[str, Any]) -> str:
    """``"dqroute, alpha=0.3"``."""
    return ", ".join([name] * bool(name) + [f"{option}={value}" for option, value in given.items()])


def data_entry(item: Any) -> Entry:
    """A data set, and how it is to be loaded."""
    name, given, label = name_and_options("data", item)
    kind, _, path = name.partition(":")
    if not path or kind not in DATA_SETS:
        alone = [known for known in DATA_SETS if known not in ("folder", "list")]
        choose("data set", name, [*alone, "folder:PATH", "list:PATH"])
    # The notebook draws the training images from seed 0, so that all runs of a data set share them.
    options = options_of(DATA_SETS[kind], "seed", *["root"] * bool(path))
    if path and "root" not in inspect.signature(DATA_SETS[kind]).parameters:
        raise ValueError(f"{kind} lies in no folder; leave {path!r} out")
    check_options(name, given, options)
    defaults = {option: default for option, (_, default) in options.items()}
    given = {"imbalance": defaults["imbalance"]} | given
    checked_imbalance(given["imbalance"])
    checked_val(given.get("val"))
    # Workers may run in another folder.
    given |= {option: absolute(given[option]) for option in ("root", "lists", "class_names") if option in given}
    return Entry(f"{kind}:{absolute(path)}" if path else name, given, defaults | given, label)


def method_entry(item: Any) -> Entry:
    """A method and its options."""
    name, given, label = name_and_options("methods", item)
    options = options_of(METHODS[choose("method", name, METHODS)].__init__)
    check_options(name, given, options)
    # A million experts would take minutes to build and refuse.
    for option, value in given.items():
        checked_range(option, value if isinstance(value, int) else 0, -100, 100)
    # All shot groups, and classes enough for any number of experts: a value out of range is refused by this problem.
    counts = torch.tensor([200, 50, 10]).repeat_interleave(16)
    with torch.random.fork_rng(devices=[]):
        METHODS[name](Problem(counts, shot_groups(counts), 1, (0.0,), (1.0,)), **given)
    return Entry(name, given, {option: default for option, (_, default) in options.items()} | given, label)


def settings_entry(item: Any) -> Entry:
    """Training settings."""
    if not isinstance(item, dict):
        raise ValueError(f"an entry of settings is written {{epochs: 30}}; got {shown(item)}")
    for name in item:
        choose("setting", name, ["preset", *setting_names()])
    given = {name: absolute(value) if name == "pretrained" and value else value for name, value in item.items()}
    if item.get("pretrained") == IMAGENET:
        given["pretrained"] = IMAGENET
    changes = {name: value for name, value in given.items() if name != "preset"}
    training = training_settings(given.get("preset", "laptop"), changes)
    choose("backbone", training.backbone, backbone_names())
    return Entry("", given, training.decisive(), labelled("", item))


def options_of(function: Callable[..., Any], *without: str) -> dict[str, tuple[Any, Any]]:
    """Types and defaults of a function's options."""
    hints, parameters = get_type_hints(function), inspect.signature(function).parameters.values()
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in without]
    return {p.name: (hints.get(p.name, Any), p.default) for p in options}


def check_options(owner: str, given: dict[str, Any], options: dict[str, tuple[Any, Any]]) -> None:
    """Raise ValueError for an option that is unknown or of another type than its hint."""
    for option, value in given.items():
        hint, _ = options[choose(f"option of {owner}", option, options)]
        try:
            TypeAdapter(hint, config=STRICT).validate_python(value)
        except ValidationError:
            valid = " or ".join(WORDS[kind] for kind in get_args(hint) or (hint,) if kind in WORDS)
            raise ValueError(f"{option} of {owner} must be {valid}; got {shown(value)}") from None


def absolute(paths: Any) -> Any:
    """A path, or the paths of a mapping, from the root; anything else as it is."""
    if isinstance(paths, dict):
        return {name: absolute(path) for name, path in paths.items()}
    return os.path.abspath(os.path.expanduser(paths)) if isinstance(paths, str) else paths


def no_two_alike(entries: list[Entry], field: ValidationInfo) -> list[Entry]:
    """The entries; ValueError if two of them mean the same."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        same = seen.setdefault(json.dumps([entry.name, canonical(entry.meaning)], sort_keys=True), entry)
        if same is not entry:
            both = " and ".join(repr(each.label or "{}") for each in (same, entry))
            raise ValueError(f"{field.field_name} has the same twice, {both}; remove one")
    return entries


def entry(item: Any, field: ValidationInfo) -> Entry:
    """An item of one of the lists, checked as that list's items are."""
    return {"data": data_entry, "methods": method_entry, "settings": settings_entry}[str(field.field_name)](item)


Entries = Annotated[
    list[Annotated[Entry, BeforeValidator(entry)]], Field(min_length=1, max_length=MOST), AfterValidator(no_two_alike)
]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[list[Seed], Field(max_length=MOST), AfterValidator(lambda seeds: distinct("seeds", seeds))]
A_LIST = f"a list of 1 to {MOST} entries, such as "


class Grid(BaseModel):
    """What a grid's file gives, each entry checked."""

    model_config = STRICT | {"frozen": True}

    data: Entries = Field(description=A_LIST + EXAMPLES["data"])
    methods: Entries = Field(description=A_LIST + EXAMPLES["methods"])
    seeds: Seeds = Field([0], description=A_LIST + "[0, 1, 2], whole numbers from 0 and below 2**63")
    settings: Entries = Field([settings_entry({})], description=A_LIST + "[{epochs: 12}, {epochs: 30}]")
    split: Literal["test", "val"] = "test"


def read_grid(path: str | os.PathLike[str]) -> list[Task]:
    """The tasks of a grid file, no two of them the same run.

    Raises:
        OSError: if the file cannot be read.
        ValueError: in one line for anything in it that cannot be run, saying what would be valid.
    """
    document = read_document(path)
    try:
        return tasks_of(document)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def parse_grid(text: str) -> list[Task]:
    """The tasks of a grid's text; ValueError as :func:`read_grid`."""
    return tasks_of(parse_document(text))


def tasks_of(document: Any) -> list[Task]:
    """The tasks of a grid file's content, in the order of its data sets and seeds; ValueError as :func:`read_grid`."""
    if not isinstance(document, dict):
        raise ValueError(f"a grid has the keys {', '.join(Grid.model_fields)}; got {shown(document)}")
    grid = checked(Grid, document, "key")
    runs = len(grid.data) * len(grid.methods) * len(grid.seeds) * len(grid.settings)
    if runs > RUNS:
        raise ValueError(f"a grid asks for at most {RUNS:,} runs; this one for {runs:,}")
    tasks = []
    for image_set, seed, method, setting in product(grid.data, grid.seeds, grid.methods, grid.settings):
        row = f"{method.label}, {setting.label}" if len(grid.settings) > 1 and setting.label else method.label
        load, fit = {"name": image_set.name} | image_set.given, method.given | setting.given
        tasks.append(Task(image_set.label, row, load, method.name, seed, fit, grid.split))
    return tasks
