"""``dq.fit``: what is found again, and what is refused before anything is written."""

import dataclasses
import functools
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from training import assert_same_run

import dqroute as dq
from dqroute.methods.base import METHODS
from dqroute.runs.run import folder_of
from dqroute.training.distribution import Processes
from dqroute.training.loop import Training
from dqroute.training.request import known_of, request_of
from dqroute.training.settings import setting_names


def test_fit_leaves_the_callers_generator_alone_and_does_not_depend_on_it(tiny, tmp_path, quick):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a = dq.fit("dqroute", tiny, epochs=1, runs_dir=tmp_path / "a", **quick)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    b = dq.fit("dqroute", tiny, epochs=1, runs_dir=tmp_path / "b", **quick)
    assert_same_run(a, b)


def test_a_finished_run_is_found_and_not_trained_again(tiny, runs_dir, quick, monkeypatch):
    run = dq.fit("dqroute", tiny, epochs=2, runs_dir=runs_dir, **quick)
    before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir()}

    def must_not(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(Training, "__init__", must_not)
    again = dq.fit("dqroute", tiny, epochs=2, runs_dir=str(runs_dir), **quick)
    assert again.folder == run.folder and again.data is tiny
    assert {path: path.stat().st_mtime_ns for path in run.folder.iterdir()} == before


def test_defaults_spelled_out_are_the_same_run(tiny, runs_dir, quick):
    a = dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **quick)
    b = dq.fit("dqroute", tiny, epochs=1, alpha=0.5, lr=None, fusion="nested", seed=0, runs_dir=runs_dir, **quick)
    assert a.folder == b.folder


@pytest.mark.parametrize("change", [("alpha", 1, 1.0), ("momentum", 0, 0.0)], ids=str)
def test_a_whole_number_and_the_same_as_a_fraction_are_the_same_run(tiny, runs_dir, quick, change):
    name, whole, fraction = change
    a, b = (dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **quick, **{name: v}) for v in (whole, fraction))
    assert a.folder == b.folder


@pytest.mark.parametrize("seed", [np.int64(0), np.int64(3)], ids=repr)
def test_a_seed_out_of_an_array_is_a_whole_number(tiny, runs_dir, quick, seed):
    a = dq.fit("cross-entropy", tiny, seed=seed, epochs=1, runs_dir=runs_dir, **quick)
    assert a.folder == dq.fit("cross-entropy", tiny, seed=int(seed), epochs=1, runs_dir=runs_dir, **quick).folder


def test_numbers_out_of_arrays_are_numbers(tiny, runs_dir, quick):
    given = {"epochs": np.int64(1), "lr": np.float32(0.5), "experts": np.int64(2), "alpha": np.float64(0.25)}
    run = dq.fit("dqroute", tiny, runs_dir=runs_dir, **quick | given)
    plain = {"epochs": 1, "lr": 0.5, "experts": 2, "alpha": 0.25}
    assert run.folder == dq.fit("dqroute", tiny, runs_dir=runs_dir, **quick | plain).folder


@pytest.mark.parametrize("seed", [0.5, "0", None, True, -1, 2**63], ids=repr)
def test_a_seed_that_is_no_whole_number_is_refused(tiny, runs_dir, quick, seed):
    with pytest.raises(ValueError, match="seed"):
        dq.fit("cross-entropy", tiny, seed=seed, epochs=1, runs_dir=runs_dir, **quick)


def test_another_augmentation_is_another_run(tiny, runs_dir, quick):
    flipped = dataclasses.replace(tiny, augmentation=dataclasses.replace(tiny.augmentation, flip=True))
    a, b = (dq.fit("cross-entropy", data, epochs=1, runs_dir=runs_dir, **quick) for data in (tiny, flipped))
    assert a.folder != b.folder


def test_a_file_in_the_place_of_runs_dir_is_named_with_the_remedy(tiny, tmp_path, quick):
    (tmp_path / "runs").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*runs.*another runs_dir"):
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=tmp_path / "runs", **quick)


def test_an_unknown_setting_lists_the_valid_ones(tiny, runs_dir, quick):
    with pytest.raises(ValueError, match="unknown setting learning_rate") as caught:
        dq.fit("dqroute", tiny, epochs=1, learning_rate=0.1, runs_dir=runs_dir, **quick)
    message = str(caught.value)
    assert all(name in message for name in (*setting_names(), "alpha", "fusion"))
    with pytest.raises(ValueError, match="unknown setting alpha"):
        dq.fit("cross-entropy", tiny, epochs=1, alpha=0.1, runs_dir=runs_dir, **quick)
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "desktop"}, "laptop, paper"),
        ({"epochs": 0}, "epochs"),
        ({"lr": -1.0}, "lr"),
        ({"method": "dq"}, "cross-entropy"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_before_anything_is_written(tiny, runs_dir, quick, change, message):
    with pytest.raises(ValueError, match=message):
        dq.fit(**({"method": "dqroute", "data": tiny, "epochs": 1, "runs_dir": runs_dir} | quick | change))
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    "change",
    [{"detector": "psychic"}, {"backbone": "resnet9"}, {"shared_depth": 7}, {"alpha": 2}, {"device": "tpu"}],
    ids=str,
)
def test_a_wrong_option_leaves_no_folder(tiny, runs_dir, quick, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **(quick | change))
    assert not runs_dir.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny, runs_dir, quick):
    with pytest.raises(ValueError, match="sees no CUDA GPU"):
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **(quick | {"device": "cuda"}))


def test_a_finished_run_found_for_other_images_of_the_same_names_warns(tiny, runs_dir, quick):
    """Of a set from files, which is known by their names and sizes; what a set draws itself is known by its version."""
    files = dataclasses.replace(tiny, identity=tiny.identity | {"files": "names and sizes"})
    for data, warns in ((files, True), (tiny, False)):
        run = dq.fit("cross-entropy", data, epochs=1, runs_dir=runs_dir, **quick)
        dq.evaluate(run, device="cpu")
        other = dataclasses.replace(data, train=dq.data.Split(255 - data.train.images, data.train.labels))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            dq.fit("cross-entropy", other, epochs=1, runs_dir=runs_dir, **quick)
            dq.evaluate(dq.Run(run.folder), other)
        assert ["not to the bit those that" in str(one.message) for one in said] == [True, True] * warns


@pytest.mark.posix
def test_a_folder_for_runs_in_the_home_is_meant_by_its_tilde(tiny, tmp_path, monkeypatch, quick):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = dq.fit("cross-entropy", tiny, epochs=1, runs_dir="~/own", **quick)
    assert run.folder.is_relative_to(tmp_path / "own")


def test_a_batch_that_does_not_go_round_is_refused(tiny, runs_dir, quick, monkeypatch):
    monkeypatch.setattr("dqroute.training.fit.joined", lambda on_cpu: Processes(0, 65))
    with pytest.raises(ValueError, match="batch_size 64 does not go round 65 processes"):
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick)


def test_what_auto_comes_to_decides_which_run_it_is(tiny, runs_dir, quick, monkeypatch):
    """On two machines, of which one computes in bf16; and the precision spelled out is the same run."""
    runs = {}
    for bf16 in (True, False):
        monkeypatch.setattr("dqroute.models.device.computes_in_bf16", lambda device, has=bf16: has)
        runs[bf16] = dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick | {"precision": "auto"})
    for bf16, name in ((True, "bf16"), (False, "fp32")):
        assert runs[bf16].settings["training"]["precision"] == runs[bf16].provenance["precision"] == name
        said = dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick | {"precision": name})
        assert said.folder == runs[bf16].folder
    assert runs[True].folder != runs[False].folder


def test_the_request_alone_tells_where_a_run_lies(tiny, runs_dir, quick):
    changes = quick | {"epochs": 1, "alpha": 0.25, "lr": None}
    run = dq.fit("dqroute", tiny, seed=3, runs_dir=runs_dir, **changes)
    for name in ("device", "progress"):
        del changes[name]
    asked = changes | {"preset": "laptop"}
    request, settings = request_of("dqroute", known_of(tiny), asked, seed=3, device="cpu")
    assert folder_of(runs_dir, request, "tiny") == run.folder
    assert (settings.epochs, settings.precision) == (1, "fp32")


def test_a_network_is_built_once(tiny, runs_dir, quick, monkeypatch):
    original, built = METHODS["cross-entropy"].__init__, []

    @functools.wraps(original)
    def counted(self, *arguments, **options):
        built.append(1)
        original(self, *arguments, **options)

    monkeypatch.setattr(METHODS["cross-entropy"], "__init__", counted)
    for _ in range(2):
        dq.fit("cross-entropy", tiny, epochs=1, runs_dir=runs_dir, **quick)
        assert len(built) == 1


@pytest.mark.parametrize("own", [None, "active"])
def test_threads_wait_passively_unless_told_otherwise(own):
    """Where torch is not loaded yet, because that is when it is read."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": own} if own else {}
    ask = "import dqroute, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == (own or "passive")
    late = "import torch, dqroute, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    said = subprocess.run([sys.executable, "-c", late], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(own)
