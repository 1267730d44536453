"""Feature sets: computed once, by content; turned to their principal components; the same from files and memory."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from training import CONTEXT, ends

import dqroute as dq
from dqroute.data import FeatureSplit, feature_set, features
from dqroute.data.batches import batches_of
from dqroute.data.feature_cache import FeatureCache
from dqroute.data.feature_set import (
    BATCH,
    ON_GPU,
    as_wanted,
    batch_of,
    content_keys,
    encoded,
    principal,
    projected,
    side_by_side,
    workers_of,
)
from dqroute.data.image_set import Split
from dqroute.models import encoders

HISTOGRAMS = "gradient-histograms"


@pytest.fixture
def counted(monkeypatch):
    """How many pictures went through the encoder."""
    seen = []
    forward = encoders.Encoder.forward

    def counting(self, pictures):
        seen.append(len(pictures))
        return forward(self, pictures)

    monkeypatch.setattr(encoders.Encoder, "forward", counting)
    return seen


def quietly(data, **more):
    return features(data, HISTOGRAMS, progress=False, device="cpu", **more)


def test_every_split_becomes_features_and_keeps_its_labels_and_pictures(tiny):
    seen = quietly(tiny)
    assert set(seen.splits) == {"train", "test", "val"} and seen.counts.equal(tiny.counts)
    for part, split in seen.splits.items():
        assert isinstance(split, FeatureSplit)
        assert split.labels.equal(tiny.splits[part].labels) and split.images is tiny.splits[part].images
    assert seen.identity["features"]["backbone"] == HISTOGRAMS
    assert seen.fingerprint() == tiny.fingerprint()
    assert quietly(seen) is seen


def test_each_picture_is_computed_once_whatever_the_draw(tiny, counted):
    first = quietly(tiny)
    distinct = {bytes(image.numpy().tobytes()) for split in tiny.splits.values() for image in split.images}
    assert sum(counted) == len(distinct)
    counted.clear()
    # Another draw of the same pictures: nothing is new.
    fewer = replace(tiny, train=tiny.train.at(torch.arange(0, len(tiny.train), 2)))
    again = quietly(fewer)
    assert not counted
    changed = tiny.train.images.clone()
    changed[0, 0, 0, 0] += 1
    quietly(replace(tiny, train=Split(changed, tiny.train.labels)))
    assert sum(counted) == 1
    assert first.train.features.shape[1] > again.train.features.shape[1] * 0.9


def test_principal_components_by_hand():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 2, generator=generator) * torch.tensor([3.0, 1.0])
    rows = torch.cat([rows, rows[:, :1] * 2 + 7], dim=1)  # the third says what the first does
    centre, scale, axes = principal(lambda: [rows], 2)
    assert centre[2].item() == pytest.approx(2 * centre[0].item() + 7, abs=1e-4)
    turned = projected(rows, centre, scale, axes)
    torch.testing.assert_close(turned.mean(dim=0), torch.zeros(2), atol=1e-4, rtol=0)
    # Of three standardised features of which two are one, the first component has nearly two thirds of the variance.
    variance = turned.var(dim=0)
    assert variance[0].item() == pytest.approx(2, abs=0.1) and variance.sum().item() == pytest.approx(3, abs=0.1)
    torch.testing.assert_close(axes.T @ axes, torch.eye(2), atol=1e-5, rtol=0)


def test_no_more_components_than_images_or_features():
    four = torch.randn(4, 9)
    assert principal(lambda: [four], 256)[2].shape == (9, 3)  # four points lie in three dimensions


def test_features_that_never_change_count_for_nothing_elsewhere_either():
    """What no training picture shows may be in a test picture: nothing was learned of it, and it must not blow up."""
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    rows[:, 2] = 5.0
    centre, scale, axes = principal(lambda: [rows], 256)
    assert axes.shape == (4, 3)
    strange = rows.clone()
    strange[:, 2] = 1e4
    torch.testing.assert_close(projected(strange, centre, scale, axes), projected(rows, centre, scale, axes))
    assert principal(lambda: [torch.ones(8, 3)], 256)[2].shape == (3, 1)
    assert projected(torch.ones(8, 3), *principal(lambda: [torch.ones(8, 3)], 256)).abs().max() == 0


def test_grey_and_oblong_pictures_are_taken():
    grey = torch.randint(0, 256, (2, 1, 8, 12), dtype=torch.uint8)
    same = as_wanted(grey, 8, "bicubic")
    assert same.shape == (2, 3, 8, 8) and same[:, 0].equal(grey[:, 0, :, 2:10]) and same[:, 2].equal(same[:, 0])
    assert as_wanted(grey, 32, "bicubic").shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="these have 4 channels"):
        as_wanted(torch.zeros(1, 4, 8, 8, dtype=torch.uint8), 8, "bicubic")


@pytest.fixture
def folder(tmp_path):
    """Three classes of PNG files of different sizes."""
    generator = torch.Generator().manual_seed(0)
    for part, each in (("train", 12), ("test", 4)):
        for c, name in enumerate(("ant", "bee", "cow")):
            place = tmp_path / "set" / part / name
            place.mkdir(parents=True)
            for number in range(each):
                pixels = torch.randint(0, 60 + 90 * c, (40 + number, 50, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(place / f"{number}.png")
    return tmp_path / "set"


def test_streamed_files_are_read_at_the_encoders_size(folder, counted):
    data = dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds")
    seen = quietly(data)
    assert seen.train.features.shape == (36, 35) and sum(counted) == 48
    counted.clear()
    # A copy under another name is the same picture.
    shutil.copy(folder / "train/ant/0.png", folder / "train/ant/copy.png")
    assert len(quietly(dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds")).train) == 37
    assert not counted


def test_without_a_terminal_lines_tell_how_far_it_is(folder, monkeypatch, capsys):
    monkeypatch.setattr("dqroute.data.progress.SECONDS", 0)
    monkeypatch.setattr("dqroute.data.progress.SHARE", 0)
    data = dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds")
    features(data, HISTOGRAMS, device="cpu")
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"set, checked: 48 of 48 files, 100% done, 00:00 left", lines[47])
    train, test = lines[48:-1], lines[-1]
    assert [line[:35] for line in train] == [
        "set train: 16 of 36 pictures, 44% d",
        "set train: 32 of 36 pictures, 89% d",
        "set train: 36 of 36 pictures, 100% ",
    ]
    assert re.fullmatch(r"set test: 12 of 12 pictures, 100% done, \d\d:\d\d left", test)
    # What is known already takes no time, and is not told.
    features(data, HISTOGRAMS, device="cpu")
    assert "pictures" not in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order_and_those_before_a_damaged_picture_are_not_lost(workers, monkeypatch):
    monkeypatch.setattr("dqroute.data.feature_set.workers_of", lambda _: workers)
    encoder, threads = encoders.loaded(HISTOGRAMS), torch.get_num_threads()
    batches = [torch.randint(256, (size, 3, 32, 32), dtype=torch.uint8) for size in (1, 5, 2, 7, 3, 4, 6)]

    def damaged():
        yield from batches
        raise ValueError("cannot read a.png")

    found = []
    with pytest.raises(ValueError, match=r"a\.png"):
        found.extend(side_by_side(encoder, damaged()))
    for rows, batch in zip(found, batches, strict=True):
        torch.testing.assert_close(rows, encoder(batch))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == threads


def test_as_many_batches_at_a_time_as_torch_may_use_cores_and_one_for_an_encoder_of_ones_own(monkeypatch):
    encoder = encoders.loaded(HISTOGRAMS)
    for cores, threads, several, workers in ((3, 4, True, 3), (4, 1, True, 1), (64, 64, True, 16), (3, 4, False, 1)):
        monkeypatch.setattr("dqroute.data.feature_set.cores", lambda cores=cores: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        monkeypatch.setattr(encoder, "several", several)
        assert workers_of(encoder) == workers


def test_a_few_pictures_are_divided_among_the_cores_and_a_gpu_takes_many_at_a_time(monkeypatch):
    monkeypatch.setattr("dqroute.data.feature_set.workers_of", lambda _: 2)
    encoder = encoders.loaded(HISTOGRAMS)
    taken = [batch_of(encoder, number) for number in (0, 1, 2, 7, 31, 32, 5000)]
    assert taken == [1, 1, 1, 4, BATCH, BATCH, BATCH]
    elsewhere = SimpleNamespace(mean=torch.empty(0, device="meta"))  # any device but the processor
    assert batch_of(elsewhere, 7) == ON_GPU


def test_an_encoder_that_fails_at_a_picture_leaves_no_features_under_others_names(tmp_path, monkeypatch):
    monkeypatch.setattr("dqroute.data.feature_set.workers_of", lambda _: 3)
    monkeypatch.setattr("dqroute.data.feature_set.BATCH", 2)

    class Divided(torch.nn.Module):
        def forward(self, pictures):
            rows = pictures.flatten(1)[:, :8]
            return rows / (pictures.amax(dim=(1, 2, 3)) > 0)[:, None].float()

    encoder = encoders.Encoder("divided", Divided(), encoders.Preprocessing(8, (0.0,) * 3, (1.0,) * 3))
    encoder.several = True
    images = torch.randint(1, 256, (20, 3, 8, 8), dtype=torch.uint8)
    images[9] = 0
    split, store = Split(images, torch.zeros(20, dtype=torch.int64)), FeatureCache(tmp_path, 8)
    with pytest.raises(ValueError, match="NaN"):
        encoded(split, encoder, store, "", False)
    keys = content_keys(split)
    held = [index for index, key in enumerate(keys) if key in store]
    assert held == list(range(8))
    torch.testing.assert_close(store.read([keys[index] for index in held]), encoder(images[:8]))


def test_own_encoders_are_called_by_one_thread_at_a_time(monkeypatch):
    monkeypatch.setitem(encoders.ENCODERS, "own", lambda: encoders.gradient_histograms())
    assert [encoders.Encoder(name, *encoders.architecture(name)).several for name in ("own", HISTOGRAMS)] == [
        False,
        True,
    ]


def test_damaged_files_of_all_parts_are_named_before_anything_is_computed(folder, counted):
    (folder / "test/bee/1.png").write_bytes(b"no picture")
    cut = folder / "train/cow/3.png"
    cut.write_bytes(cut.read_bytes()[:900])
    data = dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds")
    with pytest.raises(
        ValueError, match=r"cannot read train/cow/3.png \(.*\), test/bee/1.png \(no picture.*leave them"
    ):
        quietly(data)
    assert not counted


def test_unlooked_at_a_damaged_file_costs_nothing_that_was_computed(folder, counted, monkeypatch):
    monkeypatch.setattr("dqroute.data.feature_set.BATCH", 5)
    (folder / "train/cow/7.png").write_bytes(b"no picture")  # the 32nd of 36
    data = dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds")
    with pytest.raises(ValueError, match="cannot read train/cow/7.png"):
        quietly(data, check=False)
    assert sum(counted) == 30
    counted.clear()
    (folder / "train/cow/7.png").unlink()
    quietly(dq.load(f"folder:{folder}", stream=True, size=16, groups="thirds"))
    assert sum(counted) == 48 - 1 - 30


def test_load_takes_a_backbone(tiny):
    data = dq.load("digits", imbalance=10, backbone=HISTOGRAMS)
    assert isinstance(data.train, FeatureSplit)
    with pytest.raises(ValueError, match="unknown pretrained backbone 'histograms'"):
        dq.load("digits", imbalance=10, backbone="histograms")


def extract(cache, told, go=None):
    """What a process does: compute features, in small files; told is of how many pictures, and a digest."""
    warnings.simplefilter("error")
    os.environ["DQROUTE_CACHE"], feature_set.ROWS = str(cache), 64
    forward, seen, alone = encoders.Encoder.forward, [], threading.Lock()

    def counting(self, pictures):
        with alone:  # threads compute
            seen.append(len(pictures))
            told.send(sum(seen))
        return forward(self, pictures)

    encoders.Encoder.forward = counting
    data = dq.load("glyphs", imbalance=10, n_max=50)
    if go:
        told.send("ready")
        go.wait()
    features = quietly(data).train.features
    told.send(hashlib.sha256(features.numpy().tobytes()).hexdigest())


def begin(cache, go=None):
    """A process that extracts, and what it tells."""
    heard, told = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=extract, args=(cache, told, go))
    process.start()
    told.close()
    return process, heard


def rest_of(heard):
    """All that is still told."""
    said = []
    with contextlib.suppress(EOFError):
        while True:
            said.append(heard.recv())
    return said


@pytest.mark.posix
@pytest.mark.slow
def test_a_killed_extraction_goes_on(tmp_path, counted):
    """The second process computes only what the first had not yet written."""
    first, heard = begin(tmp_path / "cache")
    while heard.recv() < 512:
        pass
    first.kill()
    assert ends([first]) == [-signal.SIGKILL]
    second, heard = begin(tmp_path / "cache")
    *computed, _ = rest_of(heard)
    assert ends([second]) == [0]
    quietly(dq.load("glyphs", imbalance=10, n_max=50))
    assert max(computed, default=0) <= sum(counted) - 384


@pytest.mark.posix
@pytest.mark.slow
def test_processes_that_compute_the_same_at_the_same_time_do_not_hurt_each_other(tmp_path):
    go = CONTEXT.Event()
    both = [begin(tmp_path / "cache", go) for _ in range(2)]
    assert [heard.recv() for _, heard in both] == ["ready"] * 2
    go.set()
    first, second = (rest_of(heard)[-1] for _, heard in both)
    assert first == second and len(first) == 64 and ends([process for process, _ in both]) == [0, 0]
    assert not list((tmp_path / "cache").rglob("*.partial")) and list((tmp_path / "cache").rglob("*.safetensors"))


def test_mirror_images_are_a_second_view_of_the_training_pictures(tiny, counted):
    plain, both = quietly(tiny), quietly(tiny, views=2)
    assert both.identity != plain.identity and both.test.mirrored is None
    assert both.train.features.equal(plain.train.features)
    turned = replace(tiny, train=Split(tiny.train.images.flip(3), tiny.train.labels))
    expected = projected(
        encoders.loaded(HISTOGRAMS)(as_wanted(turned.train.images, 32, "bilinear")),
        *(plain.encoding.centre, plain.encoding.scale, plain.encoding.axes),
    )
    torch.testing.assert_close(both.train.mirrored, expected, atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="views is 1.*or 2"):
        quietly(tiny, views=3)


def test_training_takes_one_view_or_the_other(tiny):
    data = quietly(tiny, views=2)
    batches = batches_of(data, 64, torch.device("cpu"))
    seen = [torch.cat([x for x, *_ in batches.epoch(seed)]) for seed in (0, 1)]
    drawn = torch.cat(seen)
    either = torch.cat([data.train.features, data.train.mirrored])
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    assert torch.cdist(drawn, either, **exact).min() == 0
    assert torch.cdist(drawn, either, **exact).min(dim=1).values.max() < 1e-3
    from_plain = (torch.cdist(drawn, data.train.features, **exact).min(dim=1).values < 1e-3).float().mean()
    assert 0.3 < from_plain < 0.7
