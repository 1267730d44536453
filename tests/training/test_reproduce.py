"""A run made again: identical here, and told apart where it is not."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import dqroute as dq
from dqroute.data.disk import read_json, write_json
from dqroute.runs.published import publish
from dqroute.training.loop import Training
from dqroute.training.reproduce import TOLERANCE, alike, circumstances, data_of, main, numbers, train_again, verdict

SETTINGS = {"epochs": 1, "backbone": "resnet8", "batch_size": 64, "precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A finished, evaluated run on scanned digits, drawn with settings that are not the defaults."""
    data = dq.load("digits", imbalance=10, seed=3, val=3, n_max=40)
    run = dq.fit("dqroute", data, seed=1, runs_dir=tmp_path_factory.mktemp("runs"), progress=False, **SETTINGS)
    dq.evaluate(run, device="cpu")
    return run


@pytest.fixture
def copy(original, tmp_path):
    """The run where it may be changed."""
    folder = tmp_path / "digits" / original.folder.name
    shutil.copytree(original.folder, folder)
    return dq.Run(folder)


def test_the_command_makes_the_run_again_and_finds_it_identical(original, capsys):
    assert main([str(original.folder), "digits", "--device", "cpu"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("identical: all ") and first.endswith("and so are the weights")
    assert not [line for line in rest if not line.startswith("the code had changes")]


def test_what_a_run_leaves_out_is_not_filled_in_from_a_preset(tmp_path, capsys):
    """Trained by SGD, which its settings do not name, while today's preset trains by Muon."""
    data = dq.load("digits", imbalance=10, n_max=40)
    settings = SETTINGS | {"optimizer": "sgd", "runs_dir": tmp_path, "progress": False}
    run = dq.fit("cross-entropy", data, **settings)
    assert "optimizer" not in run.settings["training"]
    assert main([str(run.folder), "digits", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("identical: all ")


def test_weights_to_start_from_are_those_of_the_run_or_refused(copy, capsys):
    settings = read_json(copy.folder / "settings.json")
    settings["training"]["pretrained"] = "0123456789"
    write_json(copy.folder / "settings.json", settings)
    with pytest.raises(SystemExit):
        main([str(copy.folder), "digits", "--device", "cpu"])
    assert "started from the weights 0123456789, got None; see --pretrained" in capsys.readouterr().err


def test_it_says_what_differs_and_ends_with_1(copy, capsys, tmp_path):
    """A folder whose numbers and circumstances were not what its settings give."""
    report = read_json(copy.folder / "report-test.json")
    write_json(copy.folder / "report-test.json", report | {"few": report["few"] + 0.2})
    made = copy.provenance
    made["packages"]["torch"], made["machine"]["processor"], made["data_fingerprint"] = "1.0", "abacus", "0"
    write_json(copy.folder / "provenance.json", made)
    kept = tmp_path / "again"
    assert main([str(copy.folder), "digits", '{"imbalance": 10}', "--device", "cpu", "--runs-dir", str(kept)]) == 1
    said = capsys.readouterr().out
    assert f"different by more than {TOLERANCE:g}:" in said and f"was {report['few'] + 0.2:.4f}" in said
    assert "test few is" in said and "test many is" not in said
    for was in ("was 1.0", "was abacus", "data fingerprint is"):
        assert was in said
    assert dq.find_runs(kept)[0].folder.name == copy.folder.name


def test_numbers_within_the_tolerance_agree_and_are_not_called_identical(original, copy):
    report = read_json(copy.folder / "report-test.json")
    write_json(copy.folder / "report-test.json", report | {"overall": report["overall"] + 0.004})
    agrees, (line,) = verdict(original, dq.Run(copy.folder))
    assert agrees and line.startswith("not identical, but within 0.01") and "largest difference 0.004" in line
    assert not verdict(original, dq.Run(copy.folder), tolerance=0.001)[0]


def test_a_run_shared_without_weights_is_compared_by_its_numbers(original, copy):
    copy.weights_file.unlink()
    agrees, (line,) = verdict(copy, original)
    assert agrees and line.startswith("identical") and "no weights were shared" in line


def test_other_data_are_refused(original, capsys):
    with pytest.raises(SystemExit):
        main([str(original.folder), "digits", '{"imbalance": 20}'])
    assert "is not the data of" in capsys.readouterr().err


def test_the_new_run_does_not_go_where_the_old_one_is(original):
    with pytest.raises(ValueError, match="name another folder"):
        train_again(original, original.data, original.folder.parents[1])


@pytest.mark.parametrize("arguments", [["nowhere", "digits"], [".", "digits"]], ids=str)
def test_a_folder_without_a_run_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and "holds no run" in capsys.readouterr().err


def test_what_was_measured_with_a_clock_is_no_result():
    value = {"seconds": 3, "loss": 1, "val": {"few": None, "overall": 0.5}, "weights": [1, 2], "ok": True}
    expected = {"loss": 1, "val overall": 0.5, "weights[0]": 1, "weights[1]": 2}
    assert dict(numbers(json.loads(json.dumps(value)))) == expected


def test_the_same_circumstances_are_not_worth_a_line(original):
    assert all("no commit holds" in line for line in circumstances(original, original))


def test_what_training_may_do_to_the_images_is_told_by_the_run(tmp_path):
    """A set's identity does not hold it: as loaded anew, digits may not be mirrored."""
    data = dq.load("digits", imbalance=10, n_max=40)
    changed = replace(data, augmentation=replace(data.augmentation, flip=True, padding=1))
    run = dq.fit("cross-entropy", changed, runs_dir=tmp_path, progress=False, **SETTINGS)
    assert data_of(run, "digits", {}).augmentation == changed.augmentation != data.augmentation


def test_a_loss_is_compared_by_its_share():
    assert not alike("last epoch's loss", 0.05, 0.0595, 0.01) and alike("last epoch's loss", 5.0, 5.04, 0.01)
    assert alike("test overall", 0.05, 0.0595, 0.01) and not alike("test overall", 0.5, 0.52, 0.01)


def test_it_computes_with_the_threads_and_the_precision_of_then(copy, tmp_path, monkeypatch):
    """Whatever this machine would take by itself; afterwards it has its own number of threads again."""
    made, before = copy.provenance, torch.get_num_threads()
    made["machine"]["threads"], seen, original = before + 1, [], Training.step
    write_json(copy.folder / "provenance.json", made)
    settings = copy.settings | {"training": copy.settings["training"] | {"precision": "auto"}}
    write_json(copy.folder / "settings.json", settings)
    monkeypatch.setattr("dqroute.models.device.computes_in_bf16", lambda device: True)
    monkeypatch.setattr(
        Training, "step", lambda self, *a: (seen.append(torch.get_num_threads()), original(self, *a))[1]
    )
    again = train_again(dq.Run(copy.folder), data_of(copy, "digits", {}), tmp_path / "again", "cpu", progress=False)
    assert set(seen) == {before + 1} and torch.get_num_threads() == before
    assert again.provenance["precision"] == made["precision"] == "fp32"


def test_a_line_of_a_published_table_is_made_again(original, tmp_path, capsys):
    publish([original], tmp_path / "table.jsonl")
    assert main([f"{tmp_path / 'table.jsonl'}:1", "digits", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("identical: all ")
    with pytest.raises(SystemExit):
        main([f"{tmp_path / 'table.jsonl'}:2", "digits"])
    assert "the lines 1 to 1" in capsys.readouterr().err
