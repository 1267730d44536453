"""The run folder: found again, opened anywhere, and plain about what is damaged or missing."""

import dataclasses
import json
import os
import re
import shutil

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

import dqroute as dq
from dqroute.core.long_tail import shot_groups
from dqroute.data.disk import read_json, write_json, write_tensors
from dqroute.methods.base import Problem
from dqroute.runs.asked import FORMAT
from dqroute.runs.run import (
    Run,
    default_runs_dir,
    digest_of,
    find_runs,
    folder_of,
)
from dqroute.runs.tables import summary, table

REQUEST = {
    "method": "cross-entropy",
    "options": {},
    "training": {"epochs": 2, "precision": "fp32"},
    "seed": 3,
    "data": {"name": "tiny"},
}


def problem_of(data):
    return Problem(data.counts, data.groups, 1, (80.0,), (90.0,))


@pytest.fixture
def run(tiny, runs_dir):
    """A run that was asked for, and nothing more."""
    return Run.of_request(runs_dir, REQUEST, problem_of(tiny), tiny)


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of a trained run, to be damaged."""
    folder = tmp_path / "copies" / trained[1].folder.name
    shutil.copytree(trained[1].folder, folder)
    return Run(folder)


@given(st.lists(st.integers(1, 500), min_size=3, max_size=12), st.sampled_from(["auto", "thirds", "shots"]))
def test_a_problem_survives_json(counts, rule):
    problem = Problem(
        torch.tensor(counts), shot_groups(counts, rule), 3, (1.5, 2.0, 3.25), (4.0, 5.0, 6.0), "resnet20", 2, 0.75
    )
    again = TypeAdapter(Problem).validate_json(json.dumps(problem.to_json()))
    assert torch.equal(again.counts, problem.counts) and again.counts.dtype == problem.counts.dtype
    for name in vars(problem):
        if name != "counts":
            assert getattr(again, name) == getattr(problem, name)


def test_the_folder_is_named_after_data_method_seed_and_digest(run, runs_dir):
    assert run.folder.parent == runs_dir / "tiny"
    assert run.folder.name == f"cross-entropy-seed3-{run.settings['digest']}"
    assert (run.method, run.seed, run.settings["format"]) == ("cross-entropy", 3, FORMAT)


def test_the_same_request_is_the_same_folder_whatever_the_order_of_its_keys(run, tiny, runs_dir):
    again = Run.of_request(runs_dir, dict(reversed(REQUEST.items())), problem_of(tiny), tiny)
    assert again.folder == run.folder


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"options": {"classifier": "cosine"}},
        {"training": {"epochs": 3, "precision": "fp32"}},
        {"data": {"name": "other"}},
    ],
    ids=str,
)
def test_another_request_is_another_folder(run, tiny, runs_dir, change):
    assert Run.of_request(runs_dir, REQUEST | change, problem_of(tiny), tiny).folder != run.folder


def test_settings_are_not_written_twice(run, tiny, runs_dir):
    before = (run.folder / "settings.json").stat().st_mtime_ns
    Run.of_request(runs_dir, REQUEST, problem_of(tiny), tiny)
    assert (run.folder / "settings.json").stat().st_mtime_ns == before


def test_a_run_that_never_started_is_empty_and_says_so(run):
    assert run.epochs == [] and run.provenance == {} and run.seconds == 0 and not run.finished
    assert run.report() is None and "0 epochs so far" in repr(run)
    with pytest.raises(FileNotFoundError, match="has no weights"):
        run.model  # noqa: B018


def test_a_finished_run_opens_from_its_folder(trained):
    run = dq.Run(str(trained[1].folder))
    assert run.finished and "finished" in repr(run) and run.data is None
    assert run.groups == trained[1].groups
    assert [record["epoch"] for record in run.epochs] == [1, 2]
    assert run.seconds == pytest.approx(sum(record["seconds"] for record in run.epochs))
    assert run.report() == trained[1].report()
    for a, b in zip(run.model.state_dict().values(), trained[1].model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not run.model.training


def test_the_folder_holds_what_the_page_says_and_no_checkpoint(trained):
    names = {path.name for path in trained[0].folder.iterdir()}
    assert names == {
        "settings.json",
        "provenance.json",
        "epochs.jsonl",
        "weights.safetensors",
        "report-test.json",
        "card.md",
    }


def test_the_record_names_no_path(trained, tmp_path_factory):
    for path in trained[1].folder.glob("*.json*"):
        assert str(tmp_path_factory.getbasetemp()) not in path.read_text()


def test_a_new_model_is_drawn_from_the_runs_seed_and_leaves_the_generator_alone(trained):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a, b, other = (run.new_model().state_dict() for run in (trained[0], trained[0], trained[2]))
    assert torch.equal(torch.get_rng_state(), state)
    name = "network.trunk.0.0.weight"
    assert torch.equal(a[name], b[name]) and not torch.equal(a[name], other[name])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no run: it has no settings\.json"):
        Run(tmp_path)


def test_a_folder_of_runs_is_called_so_and_names_one(trained):
    data = trained[0].folder.parent
    for folder in (data, data.parent):
        with pytest.raises(FileNotFoundError, match=f"{re.escape(str(folder))} is a folder of runs, such as") as told:
            Run(folder)
        assert Run(str(told.value).split("such as ")[1].split(";")[0]).settings


def test_another_format_is_refused_with_the_remedy(finished):
    path = finished.folder / "settings.json"
    path.write_text(json.dumps(finished.settings | {"format": FORMAT + 1}))
    with pytest.raises(
        ValueError, match=f"format: Input should be {FORMAT}; got '{FORMAT + 1}'.*take the version that wrote it"
    ):
        Run(finished.folder)


def test_damaged_settings_are_named(finished):
    (finished.folder / "settings.json").write_text('{"format": 1, ')
    with pytest.raises(ValueError, match=r"settings\.json is not readable JSON"):
        Run(finished.folder)


def test_settings_that_are_something_else_are_named(finished):
    (finished.folder / "settings.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"settings\.json describes no run"):
        Run(finished.folder)


def test_damaged_records_are_named(finished):
    path = finished.folder / "epochs.jsonl"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"epochs\.jsonl"):
        finished.epochs  # noqa: B018


def test_a_run_shared_without_its_weights_still_tells_its_results(finished):
    finished.weights_file.unlink()
    assert finished.finished and finished.report().images == 200 and len(finished.epochs) == 2
    with pytest.raises(FileNotFoundError, match="has no weights: the run is unfinished, or shared without them"):
        finished.model  # noqa: B018


def test_weights_of_another_network_are_refused(finished):
    write_tensors(finished.weights_file, {"network.trunk.0.weight": torch.zeros(3)}, {})
    with pytest.raises(ValueError, match=r"weights\.safetensors belongs to another network"):
        finished.model  # noqa: B018


def test_truncated_weights_are_named(finished):
    content = finished.weights_file.read_bytes()
    finished.weights_file.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"weights\.safetensors is truncated"):
        finished.model  # noqa: B018


def test_find_runs_gives_the_finished_ones_sorted(trained, run, runs_dir):
    for one in trained[:2]:
        shutil.copytree(one.folder, runs_dir / "tiny" / one.folder.name)
    found = find_runs(runs_dir)
    assert [r.folder for r in found] == sorted(runs_dir / "tiny" / one.folder.name for one in trained[:2])
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; give the one"):
        find_runs(runs_dir / "nowhere")


def test_before_the_first_run_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("DQROUTE_RUNS", str(tmp_path / "not yet"))
    assert find_runs() == []


def test_find_runs_passes_over_what_is_no_run(trained, tmp_path):
    shutil.copytree(trained[0].folder, tmp_path / "tiny" / trained[0].folder.name)
    (tmp_path / ".vscode").mkdir()
    (tmp_path / ".vscode" / "settings.json").write_text('{"editor.rulers": [120]}')
    assert len(find_runs(tmp_path)) == 1


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path, trained):
    monkeypatch.delenv("DQROUTE_RUNS", raising=False)
    assert str(default_runs_dir()) == "runs"
    monkeypatch.setenv("DQROUTE_RUNS", str(trained[0].folder.parent))
    assert default_runs_dir() == trained[0].folder.parent
    assert len(find_runs()) == len(trained)


def test_the_table_has_a_row_a_run_and_the_settings_that_differ(trained, tiny, runs_dir, quick):
    other = dq.fit("dqroute", tiny, seed=1, epochs=1, alpha=1, runs_dir=runs_dir, **quick)
    frame = table([*trained, other])
    assert list(frame["method"]) == ["cross-entropy", "dqroute"] * 2 + ["dqroute"]
    assert list(frame["seed"]) == [0, 0, 1, 1, 1] and set(frame["data"]) == {"tiny"}
    # "lr" is the same in all; "alpha" is dqroute's alone, and its runs differ in it.
    assert "lr" not in frame and list(frame["epochs"]) == [2, 2, 2, 2, 1]
    assert list(frame["alpha"])[1::2] == [0.5, 0.5] and frame["alpha"].iloc[4] == 1
    assert list(frame["overall"])[:4] == [100 * run.report().overall for run in trained]
    assert frame["overall"].isna().tolist() == [False] * 4 + [True]
    assert list(frame["minutes"]) == [run.seconds / 60 for run in [*trained, other]]
    assert list(frame["folder"]) == [str(run.folder) for run in [*trained, other]]
    assert list(frame["commit"]) == [run.provenance.get("commit") for run in [*trained, other]]
    assert set(frame["device"]) == {"cpu"}


def test_the_table_of_a_folder_is_that_of_its_runs(trained):
    folder = trained[0].folder.parents[1]
    assert table(folder).equals(table(find_runs(folder))) and len(table(folder)) == len(trained)
    assert len(table([])) == 0


def test_find_runs_passes_over_another_format(trained, tmp_path):
    folder = tmp_path / "digits" / "older"
    shutil.copytree(trained[0].folder, folder)
    write_json(folder / "settings.json", read_json(folder / "settings.json") | {"format": 0})
    with pytest.warns(UserWarning, match="passed over: .*format: Input should be 1; got '0'.*or remove the folder"):
        assert dq.find_runs(tmp_path) == []


def test_weights_of_another_run_of_the_same_network_are_refused(finished, trained):
    other = next(run for run in trained if run.method == finished.method and run.seed != finished.seed)
    shutil.copyfile(other.weights_file, finished.weights_file)
    with pytest.raises(ValueError, match="belongs to another run"):
        _ = dq.Run(finished.folder).model


def test_find_runs_names_what_it_cannot_read_and_gives_the_others(trained, tmp_path):
    shutil.copytree(trained[0].folder, tmp_path / "good")
    shutil.copytree(trained[0].folder, tmp_path / "bad")
    (tmp_path / "bad" / "provenance.json").write_text("")
    with pytest.warns(UserWarning, match=r"passed over: .*bad.provenance.json is not readable"):
        found = find_runs(tmp_path)
    assert [run.folder.name for run in found] == ["good"]


@pytest.mark.posix
def test_find_runs_follows_links_and_none_in_circles(trained, tmp_path):
    shutil.copytree(trained[0].folder, tmp_path / "elsewhere" / "run")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    assert [run.folder for run in find_runs(tmp_path / "runs")] == [tmp_path / "runs" / "linked" / "run"]


@pytest.mark.posix
def test_a_folder_in_the_home_is_meant_by_its_tilde(trained, tmp_path, monkeypatch):
    shutil.copytree(trained[0].folder, tmp_path / "runs" / "one")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DQROUTE_RUNS", "~/runs")
    assert default_runs_dir() == tmp_path / "runs"
    assert len(find_runs()) == len(find_runs("~/runs")) == 1 and Run("~/runs/one").finished


def test_the_table_tells_the_draw_of_the_data_from_the_seed_of_the_run(trained, tmp_path):
    runs = []
    for draw in (0, 1):
        shutil.copytree(trained[0].folder, tmp_path / str(draw))
        settings = read_json(tmp_path / str(draw) / "settings.json")
        settings["data"]["seed"] = draw
        write_json(tmp_path / str(draw) / "settings.json", settings)
        runs.append(Run(tmp_path / str(draw)))
    assert table(runs)["data seed"].tolist() == [0, 1] and table(runs)["seed"].tolist() == [runs[0].seed] * 2


def test_corrected_class_names_reach_a_run_that_is_there(run, tiny, runs_dir):
    names = tuple(f"digit {c}" for c in range(10))
    again = Run.of_request(runs_dir, REQUEST, problem_of(tiny), dataclasses.replace(tiny, class_names=names))
    assert again.folder == run.folder and Run(run.folder).settings["class_names"] == list(names)


def test_large_whole_numbers_are_told_apart():
    assert digest_of({"seed": 2**60}) != digest_of({"seed": 2**60 + 1})
    assert digest_of({"seed": 3}) == digest_of({"seed": 3.0})


def test_a_report_of_an_older_version_says_that_it_has_no_intervals(finished, tiny):
    file = finished.folder / "report-test.json"
    told, whole = json.loads(file.read_text()), finished.report()
    assert "95 % intervals over images" in str(whole)
    for name in ("intervals", "pictures", "independent"):
        del told[name]
    file.write_text(json.dumps(told))
    for report in (finished.report(), dq.evaluate(finished, tiny, device="cpu")):
        assert report.overall == whole.overall and report.said("overall") in repr(report)
        for said in (str(report), report._repr_html_(), finished._repr_html_()):
            assert "in brackets" not in said
        assert "no intervals, since this report is of an older version" in " ".join(str(report).split())
        assert "no intervals, since this report is of an older version" in report._repr_html_()
    file.unlink()
    assert dq.evaluate(finished, tiny, device="cpu").intervals == whole.intervals


def test_a_damaged_report_is_named_with_the_remedy(finished):
    (finished.folder / "report-test.json").write_text("{}")
    with pytest.raises(ValueError, match="remove the file and evaluate the run again"):
        finished.report()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": {"experts": 1_000_000}}, "(options.experts: Input should be less than .* 64; got '1000000'"),
        ({"options": {"experts": "three"}}, "(options.experts: .*; got 'three'"),
        ({"options": {"experts": 40}}, "belongs to another network: .* has a larger one"),
        ({"options": {"unheard": 1}}, "(.*unheard"),
        ({"options": None}, "(options: "),
        ({"method": "magic"}, "(unknown method 'magic'"),
        ({"problem": {}}, "(problem.counts: Field required"),
        ({"problem": None}, "(problem: "),
        ({"training": {}}, "('precision' is not there"),
        ({"class_names": ["one"]}, "(groups, class_names or difficulty are not those of the 10 classes"),
        ({"seed": -1}, "(seed: "),
    ],
    ids=str,
)
def test_settings_of_somebody_else_are_checked_before_anything_is_built(finished, change, said):
    path = finished.folder / "settings.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(ValueError, match=said.replace("(", r"describes no run of this version \(", said[0] == "(")):
        dq.Run(finished.folder).model  # noqa: B018


@pytest.mark.parametrize(
    "change",
    [
        {"branch_width": 2000.0},
        {"branch_width": 16.0},
        {"backbone": "resnet152", "shared_depth": 2},
        {"backbone": "timm:vit_giant_patch14_dinov2"},
        {"encoder": {"weights": "", "size": 160, "interpolation": "bicubic", "width": 65_536, "components": 65_536}},
        {"folds": 1e9},
        {"groups": {"many": [0], "medium": [1], "few": [2], "rule": "shots"}},
    ],
    ids=str,
)
def test_a_problem_that_asks_for_too_much_is_refused(finished, change, monkeypatch):
    monkeypatch.setattr("dqroute.runs.run.build", lambda *_: pytest.fail("something was built"))
    path = finished.folder / "settings.json"
    settings = read_json(path)
    write_json(path, settings | {"problem": settings["problem"] | change})
    with pytest.raises(ValueError, match=r"settings\.json (describes no run of this version|has a larger one)"):
        dq.Run(finished.folder).model  # noqa: B018


def odd():
    """What may stand anywhere in a JSON file."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    plain |= st.sampled_from([10**9, 2**63, -(10**400), 1e300, "resnet152", "efficientnet-lite0", "..", []])
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    )


def leaves(value, path=()):
    """The places in a nested value, containers before what is in them."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from leaves(item, (*path, key))


@st.composite
def changed(draw, settings):
    """Settings with up to three places taken out or made something else."""
    settings = json.loads(json.dumps(settings))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in leaves(settings) if path]))
        place = settings
        for key in path[:-1]:
            place = place[key]
        if draw(st.booleans()):
            place[path[-1]] = draw(odd())
        else:
            del place[path[-1]]
    return settings


@hypothesis.settings(max_examples=150, suppress_health_check=list(hypothesis.HealthCheck))
@given(st.data())
def test_any_change_of_the_settings_opens_the_run_or_is_told_in_one_line(finished, data):
    path = finished.folder / "settings.json"
    settings = data.draw(changed(finished.settings))
    path.write_text(json.dumps(settings))
    try:
        assert dq.Run(finished.folder).model.network
    except (ValueError, FileNotFoundError) as error:
        assert str(finished.folder) in str(error) and len(str(error).splitlines()) == 1 and len(str(error)) < 1500


def test_settings_nested_or_large_beyond_reason_are_told(finished):
    path = finished.folder / "settings.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"settings\.json is not readable JSON"):
        dq.Run(finished.folder)
    with open(path, "wb") as file:
        file.truncate(2**26)
    with pytest.raises(ValueError, match=r"settings\.json is too large to be the settings of a run"):
        dq.Run(finished.folder)


NAMES = st.text(max_size=300) | st.text(st.sampled_from("./\\: cCoOnN1\0\n\u00e4\u4e00"), max_size=300)
SPECIAL = ["", ".", "..", "../..", "/etc", "C:\\x", "NUL", "con.txt", "a\0b", "a/b", "x" * 300, "\u4e00" * 100, "a. "]


@pytest.mark.parametrize("name", [*SPECIAL, "pictures of mine", ".hidden", "\u00e4\u00f6 (2).x", "\u4e00" * 60])
def test_names_that_no_folder_can_have_are_made_plain(name, tmp_path):
    folder = folder_of(tmp_path, REQUEST, name)
    folder.mkdir(parents=True)
    assert [path for path in tmp_path.glob("*/*")] == [folder]
    assert (folder.parent.name == name) == (name not in SPECIAL)


@hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck))
@given(NAMES, NAMES, NAMES)
def test_a_run_lies_two_folders_below_the_runs_folder_whatever_its_names(tmp_path, name, method, other):
    folder = folder_of(tmp_path, REQUEST | {"method": method}, name)
    assert folder.resolve().relative_to(tmp_path.resolve()).parts == folder.parts[-2:]
    folder.mkdir(parents=True, exist_ok=True)
    assert len(os.fsencode(folder.name)) < 256 and folder.parent.name.isprintable() or name.isprintable() is False
    assert name == other or folder_of(tmp_path, REQUEST, other).parent != folder.parent


DAMAGES = {
    "settings.json": ['{"format": 1, ', "", "[]", '{"format": 99}', '{"format": 1}', "{" * 100_000],
    "provenance.json": ['{"finished": ', "", '{"finished": 1, "machine": 7}', "[1]"],
    "report-test.json": ['{"split": ', "", "[]", "{}", "null and void", '{"split": "test"}', "WRONG TYPES"],
    "epochs.jsonl": ['{"epoch"', "[1, 2]", '{"seconds": "long"}'],
}
DAMAGED = [(name, content) for name, contents in DAMAGES.items() for content in contents]


@pytest.mark.parametrize(("name", "content"), DAMAGED, ids=lambda value: str(value)[:30])
def test_one_damaged_run_does_not_spoil_a_table_of_the_others(trained, tmp_path, name, content):
    for run in trained[:3]:
        shutil.copytree(run.folder, tmp_path / run.folder.name)
    bad = tmp_path / trained[1].folder.name
    if content == "WRONG TYPES":
        content = json.dumps(read_json(bad / name) | {"overall": "much"})
    (bad / name).write_text(content)
    with pytest.warns(UserWarning) as warned:
        found = table(tmp_path)
    assert sorted(found["folder"]) == sorted(str(tmp_path / trained[i].folder.name) for i in (0, 2))
    (said,) = [str(warning.message) for warning in warned]
    assert str(bad) in said and name in said
    assert any(remedy in said for remedy in ("remove the", "restore it"))
    assert len(said.splitlines()) == 1
    if name == "report-test.json":
        with pytest.warns(UserWarning, match="passed over"):
            assert list(summary([Run(tmp_path / run.folder.name) for run in trained[:3]])["seeds"]) == [2]
