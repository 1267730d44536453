"""Published runs: a line each, read like a run folder, and no weights."""

import json
import lzma
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import dqroute as dq
from dqroute.data.disk import read_json, write_json
from dqroute.runs.evaluate import trade_off_of
from dqroute.runs.published import compact, open_run, publish, read_published
from dqroute.runs.tables import summary, table

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"


@pytest.fixture(scope="module")
def runs(trained, tiny, tmp_path_factory):
    """Copies of the trained runs, with their trade-off curves."""
    folder = tmp_path_factory.mktemp("runs")
    copies = [dq.Run(shutil.copytree(run.folder, folder / run.folder.name)) for run in trained]
    for run in copies:
        trade_off_of(run, tiny)
    return copies


@pytest.fixture
def file(runs, tmp_path):
    publish(runs, tmp_path / "table.jsonl")
    return tmp_path / "table.jsonl"


def test_a_published_run_tells_what_its_folder_tells(runs, file):
    for number, (run, line) in enumerate(zip(runs, read_published(file), strict=True), start=1):
        assert str(line.folder) == f"{file}:{number}" and f"table.jsonl:{number}" in repr(line)
        for name in ("settings", "method", "seed", "provenance", "groups", "finished"):
            assert getattr(line, name) == getattr(run, name)
        assert line.seconds == pytest.approx(run.seconds, abs=0.05)
        assert line.report() == run.report() and line.report("val") is None
        assert trade_off_of(line) == trade_off_of(run)
        told, had = (one.epochs[-1].get("difficulty", []) for one in (line, run))
        assert told == pytest.approx(had, rel=0.005)
        for name in ("loss", "accuracy"):
            told, had = ([record[name] for record in one.epochs] for one in (line, run))
            assert told == pytest.approx(had, rel=1e-4)
    assert summary(read_published(file)).equals(summary(runs))
    # Minutes are told to a tenth of a second.
    own, again = (table(one).drop(columns="folder") for one in (runs, file))
    assert again.pop("minutes").tolist() == pytest.approx(own.pop("minutes").tolist(), abs=0.05 / 60)
    pd.testing.assert_frame_equal(own, again, rtol=1e-4)


def test_class_by_class_only_the_difficulty_at_the_end_is_told_and_no_seconds():
    told = {"class_weights": [1] * 3, "seconds": 1.5, "images_per_second": 100.0}
    epochs = [{"epoch": e, "difficulty": [0.1 * e] * 3, "experts": [e, e]} | told for e in (1, 2)]
    ended = {"epoch": 2, "difficulty": [0.2] * 3, "experts": [2, 2]}
    assert compact(epochs, 3) == [{"epoch": 1, "experts": [1, 1]}, ended]
    assert compact([], 3) == []


def test_its_network_is_as_it_was_before_training_and_its_weights_are_not_there(runs, file):
    line = read_published(file)[1]
    a, b = line.new_model().state_dict(), runs[1].new_model().state_dict()
    assert all(torch.equal(a[name], b[name]) for name in b)
    with pytest.raises(FileNotFoundError, match=r"reproduce .*table\.jsonl:2 DATA --runs-dir FOLDER trains the run"):
        line.model  # noqa: B018
    with pytest.raises(ValueError, match="pass the image set too"):
        dq.evaluate(line, split="val")


def test_a_run_published_again_is_replaced_where_it_stands(runs, file):
    lines = file.read_text().splitlines()
    older = json.loads(lines[1])
    older["epochs.jsonl"] = []
    file.write_text("\n".join([lines[0], json.dumps(older)]) + "\n")
    found = publish([runs[2], runs[1]], file)
    assert [(run.method, run.seed) for run in found] == [(run.method, run.seed) for run in runs[:3]]
    assert file.read_text().splitlines() == lines[:3]


def test_what_else_lies_in_a_folder_is_not_published(runs, tmp_path):
    folder = shutil.copytree(runs[0].folder, tmp_path / "run")
    write_json(folder / "notes.json", {"where": "/srv/somebody"})
    (line,) = publish([dq.Run(folder)], tmp_path / "table.jsonl")
    assert line.read("notes.json") is None and "somebody" not in (tmp_path / "table.jsonl").read_text()


def test_published_runs_can_be_published_again(file, tmp_path):
    publish(read_published(file), tmp_path / "copy.jsonl")
    assert (tmp_path / "copy.jsonl").read_bytes() == file.read_bytes()


def test_a_packed_file_is_as_good(runs, file, tmp_path):
    packed = tmp_path / "table.jsonl.xz"
    publish(read_published(file), packed)
    assert lzma.decompress(packed.read_bytes()) == file.read_bytes()
    first = packed.read_bytes()
    found = publish(read_published(file), packed)
    assert packed.read_bytes() == first and [run.seed for run in found] == [run.seed for run in read_published(file)]
    assert open_run(f"{packed}:2").settings == open_run(f"{file}:2").settings
    packed.write_bytes(first[:-20])
    with pytest.raises(ValueError, match=r"table\.jsonl\.xz cannot be unpacked .* restore the file"):
        read_published(packed)
    packed.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        read_published(packed)


def test_an_unfinished_run_is_not_published(runs, tmp_path):
    write_json(tmp_path / "begun" / "settings.json", read_json(runs[0].folder / "settings.json"))
    with pytest.raises(ValueError, match="0 epochs so far.* cannot be published"):
        publish([dq.Run(tmp_path / "begun")], tmp_path / "table.jsonl")
    assert not (tmp_path / "table.jsonl").exists()


def test_a_run_is_opened_by_its_folder_or_by_file_and_line(runs, file):
    assert open_run(runs[0].folder).folder == runs[0].folder
    assert open_run(f"{file}:2").seed == runs[1].seed and open_run(f"{file}:2").method == runs[1].method
    for place in (f"{file}:0", f"{file}:5", file):
        with pytest.raises(FileNotFoundError, match="has the lines 1 to 4, as in"):
            open_run(place)


@pytest.mark.parametrize(("line", "message"), [("{", "not readable JSON"), ("[]", "no run"), ("{}", "no run")])
def test_a_damaged_line_is_named(file, line, message):
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ValueError, match=rf"table\.jsonl:5.* {message}"):
        read_published(file)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl*")), ids=lambda path: path.stem)
def test_the_results_of_the_book_are_whole(path):
    """Each run is finished and evaluated, its report agrees with its curve, and it is there once."""
    found = read_published(path)
    assert found and len({run.settings["digest"] for run in found}) == len(found)
    for run in found:
        trained = run.settings["training"]["epochs"] if dq.METHODS[run.method].trained else 0
        assert run.finished and len(run.epochs) == trained
        report = run.report() or run.report("val")
        assert len(report.per_class) == len(run.settings["class_names"])
        if curves := run.read("tradeoff-test.json"):
            (own,) = [point for point in curves["routed"] if point[0] == 0]
            assert own[1] == pytest.approx(run.report().overall, abs=1e-6)
