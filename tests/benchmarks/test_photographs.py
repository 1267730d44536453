"""The benchmark on photographs runs, and what it reports hangs together. Speeds themselves are not judged here."""

import json

import photographs
import pytest
import simplejpeg
import torch
from photographs import BATCH, in_words, make_photographs, pipeline_row
from timing import side_by_side

pytestmark = pytest.mark.weekly


@pytest.fixture
def folder(tmp_path):
    make_photographs(tmp_path, BATCH + 2)
    return tmp_path


def test_made_up_photographs_are_plain_and_about_as_heavy_as_real_ones(folder):
    files = sorted(folder.rglob("*.jpg"))
    assert len(files) == BATCH + 2
    for file in files:
        data = file.read_bytes()
        assert simplejpeg.decode_jpeg_header(data)[:2] == (375, 500)
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
    assert everyone["busy"] > 0
    assert "made up" in in_words(row) and str(folder) not in json.dumps(row)
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


def test_a_measurement_of_the_network_runs_the_side_that_it_names(folder, monkeypatch):
    """With a small network, one step each."""
    monkeypatch.setitem(photographs.SETTINGS, "backbone", "resnet18")
    for job in ("training", "inference"):
        for side in ("reference", "engine"):
            assert all(value > 0 for value in photographs.measure(side, job, folder, BATCH + 2).values())


def test_rows_are_the_pipelines_and_the_networks(folder, monkeypatch):
    """The measurements of the network are started as commands that `measure.py` understands."""
    asked = []

    def answer(commands, rounds):
        asked.extend(commands.values())
        return {side: [{"images_per_second": 1.0 + len(side)}] for side in commands}

    monkeypatch.setattr(photographs, "in_turn", answer)
    pipeline, training, inference = photographs.rows(folder, limit=100.0, images=6, rounds=1)
    assert pipeline["source"] == "given" and (training["job"], inference["job"]) == ("training", "inference")
    assert training["ratio"]["images_per_second"] == 7 / 10
    assert training["share_of_ceiling"] == pytest.approx(3 * inference["share_of_ceiling"])
    assert [command[-3:] for command in asked] == [
        [side, photographs.CASE, job] for job in ("training", "inference") for side in ("reference", "engine")
    ]
