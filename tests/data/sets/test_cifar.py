"""CIFAR through torchvision, on a small archive in CIFAR's layout; the real set where it is at hand."""

import os
import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from dqroute.data import load

PER_CLASS = 12


def write_archive(root, source, classes):
    """Write CIFAR's files with ``PER_CLASS`` training and 2 test images a class; pixel 0 of each image is its class."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    key = "labels" if source is CIFAR10 else "fine_labels"
    for names, per_class in ((source.train_list, PER_CLASS // len(source.train_list) or 1), (source.test_list, 2)):
        for name, _ in names:
            labels = rng.permutation(np.repeat(np.arange(classes), per_class))
            pixels = rng.integers(0, 256, (len(labels), 3 * 32 * 32), dtype=np.uint8)
            pixels[:, 0] = labels
            (folder / name).write_bytes(pickle.dumps({"data": pixels, key: labels.tolist()}))
    meta = {source.meta["key"]: [f"kind{c:02}" for c in range(classes)]}
    (folder / source.meta["filename"]).write_bytes(pickle.dumps(meta))


@pytest.fixture
def unchecked(monkeypatch):
    """Accept archives whose checksums are not the original's."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: os.path.isfile(path))


@pytest.mark.parametrize(("name", "source", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)])
def test_images_labels_and_names_are_read(name, source, classes, tmp_path, unchecked):
    write_archive(tmp_path, source, classes)
    data = load(name, root=tmp_path, imbalance=None)
    assert data.shape == (3, 32, 32)
    assert data.class_names[:2] == ("kind00", "kind01")
    assert len(data.test) == 2 * classes
    for split in (data.train, data.test):
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
    assert data.augmentation.flip is True
    assert str(tmp_path) not in str(data.identity)


def test_channels_come_in_the_right_order(tmp_path, unchecked):
    write_archive(tmp_path, CIFAR100, 100)
    file = tmp_path / "cifar-100-python" / "test"
    stored = pickle.loads(file.read_bytes())["data"].reshape(-1, 3, 32, 32)
    assert np.array_equal(load("cifar100", root=tmp_path, imbalance=2).test.images.numpy(), stored)


def test_the_profile_is_drawn_from_the_archive(tmp_path, unchecked):
    write_archive(tmp_path, CIFAR100, 100)
    data = load("cifar100", root=tmp_path, imbalance=4, seed=3)
    assert (int(data.counts[0]), int(data.counts[99])) == (12, 3)
    assert data.fingerprint() != load("cifar100", root=tmp_path, imbalance=4, seed=4).fingerprint()
    with pytest.raises(ValueError, match="use a smaller imbalance"):
        load("cifar100", root=tmp_path)  # the default, 100, asks too much of so small a pool


def test_a_missing_set_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="cifar100 is not in .*download=True.*root=.*cifar-100-python"):
        load("cifar100", root=tmp_path)


def test_a_damaged_copy_is_not_taken_for_the_set(tmp_path):
    write_archive(tmp_path, CIFAR10, 10)  # its checksums are not those of CIFAR-10
    with pytest.raises(FileNotFoundError, match="damaged"):
        load("cifar10", root=tmp_path)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*no network.*cifar-10-python.tar.gz"):
        load("cifar10", root=tmp_path, download=True)


@pytest.mark.skipif("DQROUTE_CIFAR100" not in os.environ, reason="DQROUTE_CIFAR100 names no tree of CIFAR-100 images")
def test_the_real_set_gives_the_published_counts():
    data = load(f"folder:{os.environ['DQROUTE_CIFAR100']}", imbalance=100)
    assert (len(data.train), len(data.test), data.shape) == (10_847, 10_000, (3, 32, 32))
    assert (data.class_names[0], data.class_names[99]) == ("apple", "worm")
    assert data.counts.tolist()[::99] == [500, 5]
    assert [len(data.groups[name]) for name in ("many", "medium", "few")] == [35, 35, 30]
    mild = load(f"folder:{os.environ['DQROUTE_CIFAR100']}", imbalance=10, groups="imbalance-100")
    assert len(mild.train) == 19_573
    assert mild.groups.few == data.groups.few
