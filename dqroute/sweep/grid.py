"""The grid of a sweep: a few lines of YAML become one task a run, and whatever is wrong with them is named at once.

.. code-block:: yaml

    data: [digits, glyphs: {imbalance: 50}]             # names that dq.load knows, folder:PATH, list:PATH, …
    methods: [cross-entropy, dqroute: {alpha: 0.3}]     # alone, or with options, and settings of its own
    seeds: [0, 1, 2]                                    # may be left out, as all that follows
    settings: [{epochs: 12}, {epochs: 30, lr: 0.05}]    # preset, epochs, lr, ...
    split: test                                         # or val, to choose a setting by
    draws: one                                          # or seed: each seed draws training images of its own

Every data set is combined with every method, seed and entry of the settings.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, create_model

from dqroute.core.checks import checked_range, choose, shown
from dqroute.core.long_tail import shot_groups
from dqroute.data import DATA_SETS, checked_imbalance, checked_val
from dqroute.data.feature_set import OWN, features
from dqroute.methods.base import METHODS, STRICT, EncoderNeeds, Problem
from dqroute.models.backbones import backbone_names
from dqroute.models.encoders import BUNDLED, encoder_names, is_encoder
from dqroute.models.pretrained import IMAGENET
from dqroute.runs.run import canonical
from dqroute.sweep.document import parse_document, read_document
from dqroute.sweep.parameters import distinct
from dqroute.training.request import SAID
from dqroute.training.settings import Settings, checked, setting_names, training_settings

MOST, RUNS = 256, 10_000
PATHS = ("root", "lists", "class_names", "images")  # options of data sets
EXAMPLES = {"data": "[digits, glyphs: {imbalance: 50}]", "methods": "[cross-entropy, dqroute: {alpha: 0.3}]"}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
WORDS |= {Mapping: "options", Sequence: "a list", list: "a list"}
OF_FEATURES = ("components", "views")


@dataclass(frozen=True)
class Task:
    """A run of the grid, and its row in the table of ``split``.

    ``load`` is what :func:`dqroute.load` is given; ``method``, ``seed`` and ``fit`` what :func:`dqroute.fit` is.
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
        given |= {"preset": settings.pop("preset", None), "epochs": settings.pop("epochs", None)}
        return given | {"seeds": [self.seed], "split": self.split, "settings": settings}

    @property
    def name(self) -> str:
        """A name for files, readable and different wherever a parameter is."""
        digest = hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.=]+", "-", f"{self.data} {self.row}").strip("-.")[:100]
        return f"{readable}-seed{self.seed}-{digest}"


class Entry(NamedTuple):
    """An entry of one of the grid's lists: as it is given and labelled, and its options, defaults included, as JSON."""

    name: str
    given: dict[str, Any]
    label: str
    meaning: str = ""


def name_and_options(key: str, item: Any) -> tuple[str, dict[str, Any], str]:
    """``name`` or ``name: {option: value}``, and the label ``"name, option=value"``."""
    name, options = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, {})
    if not (isinstance(name, str) and isinstance(options, dict)):
        raise ValueError(f"an entry of {key} is a name, or one with options, as in {EXAMPLES[key]}; got {shown(item)}")
    return name, options, ", ".join([name, *(f"{option}={value}" for option, value in options.items())])


def as_json(meaning: dict[str, Any]) -> str:
    """Options as one text, the same wherever they mean the same."""
    return json.dumps(canonical(meaning), sort_keys=True)


def all_options(name: str, function: Callable[..., Any], given: dict[str, Any], *without: str) -> dict[str, Any]:
    """A function's options as given, the rest as it has them; ValueError for one unknown or unlike its type hint."""
    options = {}
    for p in inspect.signature(function, eval_str=True).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.name not in without:
            hint = Any if p.annotation is p.empty else p.annotation
            kinds = [get_origin(kind) or kind for kind in get_args(hint) or [hint]]
            words = f"{' or '.join(WORDS[kind] for kind in kinds if kind in WORDS)} for {name}"
            options[p.name] = hint, Field(p.default, description=words)
    model = create_model(name, __config__=STRICT, **options)  # type: ignore[call-overload]
    return vars(checked(model, given, f"option of {name}"))


def data_entry(item: Any) -> Entry:
    """A data set, and how it is to be loaded."""
    name, given, label = name_and_options("data", item)
    kind, _, path = name.partition(":")
    if not path or kind not in DATA_SETS:
        alone = [known for known in DATA_SETS if known not in ("folder", "list", "table")]
        choose("data set", name, [*alone, "folder:PATH", "table:FILE", "list:PATH"])
    if path and "root" not in inspect.signature(DATA_SETS[kind]).parameters:
        raise ValueError(f"{kind} lies in no folder; leave {path!r} out")
    # The notebook draws the training images from seed 0, so that all runs of a data set share them.
    own = {option: value for option, value in given.items() if option not in ("backbone", *OF_FEATURES)}
    meaning = all_options(kind, DATA_SETS[kind], own, "seed", *["root"] * bool(path))
    of_features = {option: value for option, value in given.items() if option in OF_FEATURES}
    meaning |= all_options(kind, features, of_features, "encoding", "device", "progress", "check")
    if "backbone" in given:
        if not is_encoder(given["backbone"]):
            choose("pretrained backbone", str(given["backbone"]), encoder_names())
        meaning["backbone"] = given["backbone"]
    checked_imbalance(meaning.get("imbalance"))
    checked_val(meaning.get("val"))
    # Workers may run in another folder.
    paths = {option: absolute(value) for option, value in given.items() if option in PATHS}
    given = {"imbalance": meaning.get("imbalance")} | given | paths
    return Entry(f"{kind}:{absolute(path)}" if path else name, given, label, as_json(meaning | paths))


def method_entry(item: Any) -> Entry:
    """A method, its options, and training settings that are its own, before those of the grid."""
    name, asked, label = name_and_options("methods", item)
    own = {option: value for option, value in asked.items() if option in setting_names()}
    given = {option: value for option, value in asked.items() if option not in own}
    meaning = all_options(name, METHODS[choose("method", name, METHODS)].__init__, given)
    settings_entry({"epochs": 100_000} | own)  # how long a training is may be settled by the grid
    # A million experts would take minutes to build and refuse.
    for option, value in given.items():
        if isinstance(value, int) and not isinstance(value, bool):
            checked_range(option, value, -100, 16 if option == "experts" else 100)
    # All shot groups, and classes enough for any number of experts: a value out of range is refused by this problem.
    counts = torch.tensor([200, 50, 10]).repeat_interleave(16)
    problem = Problem(counts, shot_groups(counts), 1, (0.0,), (1.0,), difficulty=tuple([0.5] * len(counts)))
    needs = EncoderNeeds("", 8, "bicubic", 4, 4)
    entry = Entry(name, given | own, label, as_json(meaning))
    with torch.random.fork_rng(devices=[]):
        try:
            METHODS[name](problem, **given)
        except ValueError:
            # On features more is possible, and whether the data are is not known here.
            with suppress(ValueError):
                METHODS[name](replace(problem, backbone=BUNDLED, encoder=needs, folds=2), **given)
                return entry
            raise
    return entry


def settings_entry(item: Any) -> Entry:
    """Training settings."""
    if not isinstance(item, dict):
        raise ValueError(f"an entry of settings is written {{epochs: 30}}; got {shown(item)}")
    for name in item:
        choose("setting", name, ["preset", *setting_names()])
    given = dict(item)
    if item.get("pretrained") not in (None, "", IMAGENET):
        given["pretrained"] = absolute(item["pretrained"])
    training = settings_of(given, "laptop")
    if is_encoder(training.backbone):
        raise ValueError(f"a pretrained backbone belongs to the data, as in glyphs: {{backbone: {training.backbone}}}")
    choose("backbone", training.backbone, backbone_names())
    return Entry("", given, ", ".join(f"{name}={value}" for name, value in item.items()))


def settings_of(given: dict[str, Any], usual: str) -> Settings:
    """The training settings that are given, in a preset that is given or the ``usual`` one."""
    changes = {name: value for name, value in given.items() if name in setting_names()}
    return training_settings(given.get("preset") or usual, changes)


def absolute(paths: Any) -> Any:
    """A path, or the paths of a mapping, from the root; anything else as it is."""
    if isinstance(paths, dict):
        return {name: absolute(path) for name, path in paths.items()}
    return os.path.abspath(os.path.expanduser(paths)) if isinstance(paths, str) else paths


def entry(item: Any, field: ValidationInfo) -> Entry:
    """An item of one of the lists, checked as that list's items are."""
    return {"data": data_entry, "methods": method_entry, "settings": settings_entry}[str(field.field_name)](item)


Entries = Annotated[list[Annotated[Entry, BeforeValidator(entry)]], Field(min_length=1, max_length=MOST)]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[list[Seed], Field(max_length=MOST), AfterValidator(lambda seeds: distinct("seeds", seeds))]
A_LIST = f"a list of 1 to {MOST} entries, such as "


class Grid(BaseModel):
    """What a grid's file gives, each entry checked."""

    model_config = STRICT

    data: Entries = Field(description=A_LIST + EXAMPLES["data"])
    methods: Entries = Field(description=A_LIST + EXAMPLES["methods"])
    seeds: Seeds = Field([0], description=A_LIST + "[0, 1, 2], whole numbers from 0 and below 2**63")
    settings: Entries = Field([settings_entry({})], description=A_LIST + "[{epochs: 12}, {epochs: 30}]")
    split: Literal["test", "val", "out-of-fold"] = "test"
    draws: Literal["one", "seed"] = "one"


def parse_grid(text: str) -> list[Task]:
    """The tasks of a grid's text, no two the same run; ValueError in one line that says what would be valid."""
    document = parse_document(text)
    if not isinstance(document, dict):
        raise ValueError(f"a grid has the keys {', '.join(Grid.model_fields)}; got {shown(document)}")
    grid = checked(Grid, document, "key")
    if (runs := len(grid.data) * len(grid.methods) * len(grid.seeds) * len(grid.settings)) > RUNS:
        raise ValueError(f"a grid asks for at most {RUNS:,} runs; this one for {runs:,}")
    tasks, seen = [], dict[tuple[Any, ...], tuple[Entry, ...]]()
    for image_set, seed, method, setting in product(grid.data, grid.seeds, grid.methods, grid.settings):
        row = f"{method.label}, {setting.label}" if len(grid.settings) > 1 and setting.label else method.label
        load, fit = {"name": image_set.name} | image_set.given, setting.given | method.given
        if image_set.name.partition(":")[0] in OWN and not any(fit.get(name) for name in SAID):
            # As dq.fit has it where there are many; said here, so that the runs are found again.
            load = {"backbone": BUNDLED} | load
        # On features another preset is taken, where the same words may say more.
        training = settings_of(fit, "features" if "backbone" in load else "laptop")
        asked = image_set.name, image_set.meaning, seed, method.name, method.meaning, *training.decisive().items()
        entries = image_set, method, setting
        same = seen.setdefault(asked, entries)
        for key, one, other in zip(("data", "methods", "settings"), same, entries, strict=True):
            if one is not other:
                both = f"{one.label or '{}'!r} and {other.label or '{}'!r}"
                of = f" for {method.label}" * (key == "settings")  # whose own settings may be what makes them so
                raise ValueError(f"{key} has the same twice, {both}{of}; remove one")
        load |= {"seed": seed} if grid.draws == "seed" else {}
        tasks.append(Task(image_set.label, row, load, method.name, seed, fit, grid.split))
    return tasks


def read_grid(path: str | os.PathLike[str]) -> list[Task]:
    """The tasks of a grid file; OSError if it cannot be read, ValueError as :func:`parse_grid`, naming the file."""
    return read_document(path, parse_grid)
