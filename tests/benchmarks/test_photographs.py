"""The benchmark on photographs runs, and what it reports hangs together. Speeds themselves are not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import photographs
import pytest
import simplejpeg
import torch
from photographs import BATCH, make_photographs, network_in_words, pipeline_in_words, pipeline_row
from timing import side_by_side

from dqroute.data.files.jpeg import plain_header

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    make_photographs(tmp_path, BATCH + 2)
    return tmp_path


def test_made_up_photographs_are_plain_and_about_as_heavy_as_real_ones(folder):
    files = sorted(folder.rglob("*.jpg"))
    assert len(files) == BATCH + 2
    for file in files:
        data = file.read_bytes()
        header = plain_header(data)
        assert (header.height, header.width) == (375, 500)
        assert 30_000 < len(data) < 200_000
    assert len({file.read_bytes() for file in files}) == len(files)


def test_the_pipelines_row_hangs_together(folder):
    threads = torch.get_num_threads()
    row = pipeline_row(photographs.photographs(folder, 100), rounds=1) | {"source": "made up"}
    speed = row["images_per_second_of_a_core"]
    assert row["images"] == BATCH + 2 and all(value > 0 for value in speed.values())
    assert row["ratio"] == speed["engine"] / speed["reference"]
    everyone = row["all_cores"]
    assert everyone["share_of_ceiling"] == everyone["images_per_second"] / (speed["decoding"] * row["cores"])
    assert 0 < everyone["busy"] < 1.2
    assert "made up" in pipeline_in_words(row) and str(folder) not in json.dumps(row)
    assert torch.get_num_threads() == threads


def test_the_ceiling_decodes_whole_pictures(folder, monkeypatch):
    files, seen = [file.read_bytes() for file in sorted(folder.rglob("*.jpg"))], []
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: seen.append(decode(*a, **k).shape))
    next(photographs.whole(files))
    assert seen == [(375, 500, 3)] * len(files)


def test_sides_are_compared_by_medians():
    rounds = [{"a": 1.0}, {"a": 5.0}, {"a": 2.0}], [{"a": 4.0}, {"a": 3.0}, {"a": 9.0}]
    assert side_by_side(*rounds) == {"reference": {"a": 2.0}, "engine": {"a": 4.0}, "ratio": {"a": 2.0}}


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there are 0 .jpg or .jpeg files"):
        photographs.photographs(tmp_path, 10)


@pytest.mark.slow
def test_every_measurement_of_the_network_runs_in_a_process_of_its_own(folder, monkeypatch, tmp_path):
    """With a small network: as the benchmark starts them, one step each."""
    run = "import photographs, json, sys; photographs.SETTINGS['backbone'] = 'resnet18'; photographs.main()"
    found = {}
    for job in ("training", "inference"):
        for side in ("reference", "engine"):
            command = [sys.executable, "-c", run, str(folder), "--images", "18", "--worker", side, job]
            environment = os.environ | {"PYTHONPATH": f"{ROOT / 'benchmarks'}{os.pathsep}{ROOT}"}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            found[side, job] = json.loads(done.stdout)
            assert all(value > 0 for value in found[side, job].values())
    row = {"case": "ResNet-18", "job": "training", "source": "made up", "share_of_ceiling": 0.5}
    assert "×" in network_in_words(row | side_by_side([found["reference", "training"]], [found["engine", "training"]]))
