"""Grids as people write them, well and badly: distinct tasks, or one error that names the thing and what is valid."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import dqroute as dq
from dqroute.data import DATA_SETS
from dqroute.sweep.grid import Grid, parse_grid, read_grid
from dqroute.training.settings import setting_names

SMALL = "data: [digits]\nmethods: [ride]\n"
# Ten lines that stand for 129 million names.
ALIASES = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


def test_every_combination_is_one_task():
    tasks = parse_grid(
        """
        data: [digits, digits: {imbalance: 10}]
        methods: [cross-entropy, dqroute: {alpha: 0}, dqroute: {alpha: 1}]
        seeds: [0, 3]
        settings: [{epochs: 1}, {epochs: 2, lr: 1e-2}]
        """
    )
    assert len(tasks) == len({task.name for task in tasks}) == len({str(task) for task in tasks}) == 2 * 3 * 2 * 2
    assert list(dict.fromkeys(task.data for task in tasks)) == ["digits", "digits, imbalance=10"]
    assert [task.row for task in tasks if task.seed == 3][:4] == [
        "cross-entropy, epochs=1",
        "cross-entropy, epochs=2, lr=0.01",
        "dqroute, alpha=0, epochs=1",
        "dqroute, alpha=0, epochs=2, lr=0.01",
    ]
    assert tasks[-1].parameters == {
        "dataset": "digits",
        "root": None,
        "imbalance": 10,
        "options": {},
        "methods": ["dqroute"],
        "seeds": [3],
        "split": "test",
        "settings": {"alpha": 1, "lr": 0.01},
        "preset": None,
        "epochs": 2,
    }


def test_a_task_sets_only_parameters_that_the_notebook_has():
    notebook = json.loads((Path(__file__).parents[2] / "book" / "benchmark.ipynb").read_text(encoding="utf-8"))
    (cell,) = ["".join(c["source"]) for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    known = set(re.findall(r"^(\w+) *=", cell, flags=re.MULTILINE))
    (task,) = parse_grid(SMALL)
    assert task.parameters.keys() | {"runs_dir"} == known


def test_all_options_of_loading_may_be_asked_for():
    order = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    text = """
    data:
      - digits:
          {imbalance: 10, order: [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
           backbone: gradient-histograms, components: 64, views: 2}
    methods: [ride]
    """
    (task,) = parse_grid(text)
    asked = task.parameters["options"]
    assert asked == {"order": order, "backbone": "gradient-histograms", "components": 64, "views": 2}
    data = dq.load(**task.load | {"components": 8})
    assert data.counts.argmax() == 9 and data.train.features.shape[1] == 8
    (alone,) = parse_grid("data: [folder:pictures: {group_by: false}]\nmethods: [ride]")
    assert alone.load["group_by"] is False
    for wrong, said in (
        ("components: many", "a whole number for digits"),
        ("order: [a]", "order must be text or a list"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_grid(f"data: [digits: {{{wrong}}}]\nmethods: [ride]")


def test_what_is_left_out_is_as_dqroute_has_it():
    glyphs, digits = parse_grid("data: [glyphs, digits]\nmethods: [dqroute]")
    assert (glyphs.seed, glyphs.split, glyphs.fit) == (0, "test", {})
    assert (glyphs.load["imbalance"], digits.load["imbalance"]) == (100.0, None)
    # With a single entry, the settings need not tell rows apart.
    assert parse_grid(SMALL + "settings: [{epochs: 3}]")[0].row == "ride"


def test_paths_are_absolute_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree, root = parse_grid("data: [folder:my pictures: {size: 32}, cifar10: {root: archives}]\nmethods: [ride]")
    assert tree.parameters["dataset"] == f"folder:{tmp_path / 'my pictures'}"
    assert tree.parameters["options"] == {"backbone": "efficientnet-lite0", "size": 32}
    assert root.parameters["root"] == str(tmp_path / "archives")
    assert os.sep not in tree.name and tree.data == "folder:my pictures, size=32"
    lists = "{lists: {train: a.txt, test: ~/b.txt}}"
    (listed,) = parse_grid(f"data: [list:photos: {lists}]\nmethods: [ride]\nsettings: [{{pretrained: w.safetensors}}]")
    assert listed.parameters["dataset"] == f"list:{tmp_path / 'photos'}"
    assert listed.parameters["options"]["lists"] == {
        "train": str(tmp_path / "a.txt"),
        "test": str(Path.home() / "b.txt"),
    }
    assert listed.parameters["settings"]["pretrained"] == str(tmp_path / "w.safetensors")


def test_as_many_experts_as_a_method_takes():
    (task,) = parse_grid("data: [digits]\nmethods: [dqroute: {experts: 5}]")
    assert task.fit == {"experts": 5}


WRONG = {
    "": "a grid has the keys data, methods, seeds, settings, split, draws; got None",
    "- digits": "a grid has the keys",
    "data: [digits": "not readable as a grid \\(line 1: ",
    "data: [digits]\nmethods: [ride]\ndata: [glyphs]": 'line 3: found duplicate key "data"',
    SMALL + "method: [ride]": "unknown key 'method' \\(did you mean 'methods'\\?\\); the valid ones are data, methods,",
    "methods: [ride]": "data must be a list of 1 to 256 entries, such as .*; it is not there",
    "data: []\nmethods: [ride]": "data must be a list of 1 to 256 entries, .*; got \\[\\]",
    "data: digits\nmethods: [ride]": "data must be a list .*; got 'digits'",
    "data: [digit]\nmethods: [ride]": "unknown data set 'digit' \\(did you mean 'digits'\\?\\); the valid ones are gl",
    "data: [digits:here]\nmethods: [ride]": "digits lies in no folder; leave 'here' out",
    "data: [folder]\nmethods: [ride]": "unknown data set 'folder' .*folder:PATH",
    "data: [folder: pictures]\nmethods: [ride]": "an entry of data is a name, or one with options",
    "data: [7]\nmethods: [ride]": "an entry of data is a name, .*; got 7",
    "data: [digits: {imbalanc: 9}]\nmethods: [ride]": "unknown option of digits 'imbalanc' \\(did you mean 'imbalance'",
    "data: [digits: {seed: 1}]\nmethods: [ride]": "unknown option of digits 'seed'",
    "data: [digits: {imbalance: many}]\nmethods: [ride]": "imbalance must be a number or null for digits; got 'many'",
    "data: [digits: {imbalance: 0.5}]\nmethods: [ride]": "a number from 1 .*; got 0.5",
    "data: [digits, digits: {imbalance: null}]\nmethods: [ride]": "data has the same twice, 'digits' and 'digits, imba",
    "data: [folder:a, folder:./a]\nmethods: [ride]": "data has the same twice, 'folder:a' and 'folder:./a'",
    "data: [digits]": "methods must be a list",
    "data: [digits]\nmethods: [rides]": "unknown method 'rides' \\(did you mean 'ride'\\?\\); the valid ones are cro",
    "data: [digits]\nmethods: [ride: {alpha: 1}]": "unknown option of ride 'alpha'; the valid ones are experts, base, ",
    "data: [digits]\nmethods: [dqroute: {alpha: true}]": "alpha must be a number for dqroute; got True",
    "data: [digits]\nmethods: [dqroute: {alpha: 2}]": "alpha must lie between 0 and 1; got 2",
    "data: [digits]\nmethods: [ride: {experts: 1000000}]": "experts must lie between -100 and 16; got 1000000",
    "data: [digits]\nmethods: [ride: {experts: 3.5}]": "experts must be a whole number for ride; got 3.5",
    "data: [digits]\nmethods: [ride, ride: {experts: 3}]": "methods has the same twice, 'ride' and 'ride, experts=3'",
    "data: [digits]\nmethods: [ride, ride: {epochs: 12}]": "methods has the same twice, 'ride' and 'ride, epochs=12'",
    SMALL + "seeds: 3": "seeds must be a list",
    SMALL + "seeds: [a]": "seeds must be .* whole numbers from 0 and below 2..63; got \\['a'\\]",
    SMALL + "seeds: [1, 0, 1]": "seeds must name at least one and none twice",
    SMALL + "settings: {epochs: 3}": "settings must be a list .* such as \\[\\{epochs: 12\\}",
    SMALL + "settings: [epochs]": "an entry of settings is written \\{epochs: 30\\}; got 'epochs'",
    SMALL + "settings: [{epoch: 3}]": "unknown setting 'epoch' \\(did you mean 'epochs'",
    SMALL + "settings: [{alpha: 1}]": "unknown setting 'alpha'; the valid ones are preset, epochs,",
    SMALL + "settings: [{epochs: ten}]": "epochs must be a whole number from 1 to 100,000; got 'ten'",
    SMALL + "settings: [{epochs: 0}]": "epochs must be a whole number from 1 to 100,000; got 0",
    SMALL + "settings: [{lr: .nan}]": "lr must be a finite number, below 2..63 in size; got nan",
    SMALL + "settings: [{preset: long}]": "unknown preset 'long'; the valid ones are laptop, paper",
    SMALL + "settings: [{backbone: vgg}]": "unknown backbone 'vgg'; the valid ones are resnet8",
    "data: [digits]\nmethods: [ride: {epochs: 4}, dqroute]\nsettings: [{epochs: 5}, {epochs: 6}]": (
        "'epochs=5' and 'epochs=6' for ride, epochs=4; remove one"
    ),
    SMALL + "settings: [{}, {epochs: 12}]": "settings has the same twice, '\\{\\}' and 'epochs=12'",
    SMALL + "split: train": "unknown split 'train'; the valid ones are test, val",
    SMALL + "split: [val]": "split must be 'test', 'val' or 'out-of-fold'; got \\['val'\\]",
    SMALL + "seeds: [true]": "seeds must be .*; got \\[True\\]",
    SMALL + "seeds: [1.0]": "seeds must be .*; got \\[1.0\\]",
    SMALL + "seeds: [-1]": "seeds must be .*; got \\[-1\\]",
    SMALL + f"seeds: [{2**63}]": "seeds must be a finite number, below 2..63 in size; got 9223372036854775808",
    SMALL + "seeds: [" + "9" * 1500 + "]": "seeds must be a finite number, below 2..63 in size; got 9{40}$",
    SMALL + "settings: [{epochs: true}]": "epochs must be a whole number from 1 to 100,000; got True",
    SMALL + "settings: [{epochs: 100001}]": "epochs must be a whole number from 1 to 100,000; got 100001",
    SMALL + "settings: [{batch_size: 1000000}]": "batch_size must be a whole number from 1 to 100,000; got 1000000",
    SMALL + "settings: [{epochs: 0x" + "f" * 1500 + "}]": "epochs must be a finite number",
    SMALL + "settings: [{lr: 1e999}]": "lr must be a finite number, below 2..63 in size; got inf",
    SMALL + "settings: [{presett: paper}]": "unknown setting 'presett' \\(did you mean 'preset'",
    SMALL + "settings: [{[a, b]: 1}]": "unknown setting \\('a', 'b'\\)",
    SMALL + "7: [ride]": "unknown key 7; the valid ones are data,",
    SMALL + f"seeds: {list(range(257))}": "seeds must be a list of 1 to 256 entries",
    SMALL
    + f"seeds: {list(range(200))}\nsettings: {[{'lr': 1 / n} for n in range(1, 52)]}": "at most 10,000 runs; .* 10,200",
    "[" * 1500: "line 1: a grid is nested at most 10 deep",
    "{a: " * 1500: "line 1: a grid is nested at most 10 deep",
    "data: &a [*a]\nmethods: [ride]": "line 1: a grid takes no & and no \\*; write out what they stand for",
    ALIASES: "line 1: a grid takes no & and no",
    "data: [digits]\n? {methods: 1}\n: [dqroute]\nseeds: [0]\n": "line 2: found unhashable key",
    "# " + "x" * 20_000: "a grid has at most 20,000 bytes",
    f"data: [{'x' * 3000}]": "line 1: a value has at most 2,000 letters",
    "data: !!timestamp x": "line 1: failed to construct timestamp",
    "data: 2001-99-99": "month must be in 1..12",
    "data: !!python/object:os.system [ls]": "line 1: could not determine a constructor",
    "data: \x00": "unacceptable character",
    "a: 1\n---\nb: 1": "line 2: but found another document",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=lambda value: value[:60])
def test_what_is_wrong_is_named_with_what_would_be_valid(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_grid(text)
    assert len(str(caught.value).splitlines()) == 1


def test_options_without_types_are_taken_as_they_are(monkeypatch):
    monkeypatch.setitem(DATA_SETS, "own", lambda *, imbalance=None, seed=0, colours=3: None)
    (task,) = parse_grid("data: [own: {colours: [red]}]\nmethods: [ride]")
    assert task.parameters["options"] == {"colours": ["red"]}
    with pytest.raises(ValueError, match="unknown option of own 'colour' "):
        parse_grid("data: [own: {colour: 1}]\nmethods: [ride]")


def test_the_file_is_named_too(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(SMALL + "split: train", encoding="utf-8")
    with pytest.raises(ValueError, match=r"grid\.yaml: unknown split"):
        read_grid(path)
    path.write_bytes(b"data: [\xff]")
    with pytest.raises(ValueError, match=r"grid\.yaml: .*can't decode byte 0xff"):
        read_grid(path)
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        read_grid(tmp_path / "none.yaml")


def tasks_or_error(text):
    """The grid's contract, whatever the text: distinct tasks that JSON can carry, or a ValueError of one line."""
    try:
        tasks = parse_grid(text)
    except ValueError as error:
        assert str(error) and len(str(error).splitlines()) == 1
        return
    assert tasks and len({task.name for task in tasks}) == len(tasks)
    assert json.loads(json.dumps([task.parameters for task in tasks])) == [task.parameters for task in tasks]


@settings(max_examples=60)
@given(st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"# \n\t?abdt01.", max_size=60))
def test_any_text_gives_tasks_or_an_error(text):
    tasks_or_error(text)


NAMES = st.sampled_from(
    [*DATA_SETS, "folder:a", *dq.METHODS, *Grid.model_fields, *setting_names(), "alpha", "imbalance", "val", ""]
)
VALUES = st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | NAMES | st.dates() | st.binary(max_size=3)
NESTED = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


SOUND = {
    "data": st.lists(st.sampled_from(["digits", "glyphs", {"digits": {"imbalance": 5}}]), min_size=1, max_size=2),
    "methods": st.lists(st.sampled_from(["ride", "ldam", {"dqroute": {"alpha": 0.5}}]), min_size=1, max_size=2),
    "seeds": st.lists(st.integers(0, 3), min_size=1, max_size=2),
    "settings": st.lists(st.fixed_dictionaries({"epochs": st.integers(1, 9)}), min_size=1, max_size=2),
    "split": st.sampled_from(["test", "val"]),
}


@settings(max_examples=60)
@given(st.fixed_dictionaries(SOUND), st.dictionaries(st.sampled_from(list(Grid.model_fields)), NESTED, max_size=1))
def test_any_values_in_place_give_tasks_or_an_error(sound, odd):
    tasks_or_error(yaml.safe_dump(sound | odd))


def test_settings_that_ask_for_the_same_run_are_one():
    """Muon's rate means nothing to SGD."""
    with pytest.raises(ValueError, match="settings has the same twice"):
        parse_grid(SMALL + "settings: [{optimizer: sgd}, {optimizer: sgd, kernel_lr: 0.1}]")


def test_a_method_may_have_settings_of_its_own_before_those_of_the_grid():
    one, other = parse_grid(
        "data: [digits]\nmethods: [ride, ride: {diversity: 0.1, lr: 0.02}]\nsettings: [{lr: 0.05, epochs: 3}]"
    )
    assert one.fit == {"lr": 0.05, "epochs": 3}
    assert other.fit == {"lr": 0.02, "epochs": 3, "diversity": 0.1} and other.row == "ride, diversity=0.1, lr=0.02"
    with pytest.raises(ValueError, match="lr must be a number"):
        parse_grid("data: [digits]\nmethods: [ride: {lr: fast}]")
    with pytest.raises(ValueError, match="methods has the same twice"):
        parse_grid("data: [digits]\nmethods: [ride: {lr: 0.02}, ride: {lr: 0.020}]")


def test_what_means_the_same_from_scratch_may_differ_on_features():
    text = "data: [digits: {backbone: gradient-histograms}]\nmethods: [ldam]\nsettings: [{}, {cosine_scale: 30.0}]"
    assert len(parse_grid(text)) == 2
    assert len(parse_grid("data: [digits]\nmethods: [ldam: {warmup: 15}]\nsettings: [{epochs: 200}]")) == 1
    with pytest.raises(ValueError, match="warmup must be"):
        parse_grid("data: [digits]\nmethods: [ldam: {warmup: 15}]\nsettings: [{epochs: 10}]")


def test_pictures_of_ones_own_are_loaded_as_they_will_be_trained(tmp_path):
    grid = "data: ['folder:x', 'table:x.csv': {images: y}]\nmethods: [ride]\n"
    folder, table = parse_grid(grid)
    assert folder.load["backbone"] == table.load["backbone"] == "efficientnet-lite0"
    assert table.load["images"].startswith("/") or table.load["images"][1] == ":"
    assert "backbone" not in parse_grid(grid + "settings: [{backbone: resnet8}]")[0].load


def test_each_seed_may_draw_training_images_of_its_own():
    text = "data: [digits: {backbone: gradient-histograms}]\nmethods: [ride: {base: ldam}]\nseeds: [3, 4]\ndraws: seed"
    tasks = parse_grid(text)
    assert [(task.load["seed"], task.seed) for task in tasks] == [(3, 3), (4, 4)]
    assert tasks[0].parameters["options"] == {"backbone": "gradient-histograms", "seed": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: [digits: {backbone: histograms}]\nmethods: [ride]", "unknown pretrained backbone 'histograms'"),
        (
            "data: [digits]\nmethods: [ride]\nsettings: [{backbone: efficientnet-lite0}]",
            "a pretrained backbone belongs to the data",
        ),
        ("data: [digits]\nmethods: [ride]\ndraws: many", "unknown draws 'many'"),
    ],
)
def test_backbones_and_draws_that_cannot_be_are_named(text, said):
    with pytest.raises(ValueError, match=said):
        parse_grid(text)
