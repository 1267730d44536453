"""Splits that stay in their files: what they read, what they predict, what they tell of themselves."""

import dataclasses

import pytest
import torch
from photos import save_picture
from PIL import Image

import dqroute as dq
from dqroute.data import FileSplit, ImageSet, load
from dqroute.data.files.split import pixel_statistics


def both(tree, **options):
    """The same tree in its files and in memory."""
    return [load(f"folder:{tree}", size=24, stream=stream, **options) for stream in (True, False)]


def test_images_looked_at_are_those_of_a_set_in_memory(photo_tree):
    streamed, held = both(photo_tree, val=2)
    assert streamed.class_names == held.class_names and streamed.shape == held.shape == (3, 24, 24)
    assert streamed.counts.tolist() == held.counts.tolist() == [2, 7]
    for part, split in streamed.splits.items():
        same = held.splits[part]
        assert isinstance(split, FileSplit) and len(split) == len(same)
        assert torch.equal(split.labels, same.labels)
        chunks = list(split.chunks(4))
        assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in same.chunks(4)]
        assert torch.equal(torch.cat(chunks), same.images)
        assert torch.equal(split.take([1, 0, 1]), same.take([1, 0, 1]))
        assert split.shape == same.shape


def test_statistics_are_those_of_all_images_while_these_are_few_and_of_a_sample_else(photo_tree, monkeypatch):
    streamed, held = both(photo_tree)
    assert streamed.train.statistics == held.train.statistics
    monkeypatch.setattr("dqroute.data.files.split.STATISTICS_FROM", 5)
    few = [load(f"folder:{photo_tree}", size=24, stream=True).train for _ in range(2)]
    assert few[0].statistics == few[1].statistics != held.train.statistics


def test_predictions_are_those_of_the_same_images_in_memory(photo_tree, runs_dir, quick):
    streamed, held = both(photo_tree)
    run = dq.fit("dqroute", held, epochs=1, runs_dir=runs_dir, **quick)
    wanted = run.model.predict(held.test.images, batch_size=4)
    for images in (streamed.test, held.test, streamed.test.chunks(4), list(held.test.images.split(4))):
        for found, value in zip(run.model.predict(images, batch_size=4), wanted, strict=True):
            assert torch.equal(found, value)
    with pytest.raises(ValueError, match="no images were given"):
        run.model.predict([])
    with pytest.raises(ValueError, match="trained on 24x24 images"):
        run.model.predict(dataclasses.replace(streamed.test, size=20))


def test_the_images_themselves_are_not_there(photo_tree):
    split = both(photo_tree)[0].train
    with pytest.raises(AttributeError, match=r"use split.take.* split.chunks\(\)"):
        _ = split.images
    assert str(photo_tree) not in repr(split)


def test_the_fingerprint_follows_names_sizes_and_labels_and_not_the_place(photo_tree):
    def loaded(tree):
        return load(f"folder:{tree}", size=24, stream=True)

    data = loaded(photo_tree)
    before = data.fingerprint()
    moved = photo_tree.rename(photo_tree.parent / "moved")
    assert loaded(moved).fingerprint() == before
    relabelled = dataclasses.replace(data.train, base=moved, labels=1 - data.train.labels)
    test = dataclasses.replace(data.test, base=moved)
    assert dataclasses.replace(data, train=relabelled, test=test).fingerprint() != before
    assert load(f"folder:{moved}", size=20, stream=True).fingerprint() != before
    file = moved / data.train.names[3]
    content = file.read_bytes()
    file.write_bytes(content + b"more")
    assert loaded(moved).fingerprint() != before
    file.write_bytes(content)
    file.rename(file.with_name("other.jpg"))
    assert loaded(moved).fingerprint() != before
    message = r"1 of 13 files are missing below .*: train/.*No such file.*; restore .* or load the set again"
    with pytest.raises(FileNotFoundError, match=message):
        list(dataclasses.replace(data.train, base=moved).content())


def test_augmentation_and_split_have_to_fit(photo_tree):
    streamed, held = both(photo_tree)
    with pytest.raises(ValueError, match="images in files take ResizedCrop"):
        dataclasses.replace(streamed, augmentation=held.augmentation)
    with pytest.raises(ValueError, match="images in memory take Augmentation"):
        dataclasses.replace(held, augmentation=streamed.augmentation)


def test_labels_have_to_fit_the_files(photo_tree):
    data = both(photo_tree)[0]
    short = dataclasses.replace(data.test, labels=data.test.labels[:-1])
    with pytest.raises(ValueError, match=r"test labels must be int64 \[6\]"):
        dataclasses.replace(data, test=short)
    assert isinstance(data, ImageSet)


def test_statistics_by_hand(tmp_path):
    for index, level in enumerate((10, 30)):
        file = tmp_path / f"{index}.png"
        save_picture(file, 8, 8)
        Image.new("RGB", (8, 8), (level, level, 0)).save(file)
    split = FileSplit(tmp_path, ("0.png", "1.png"), torch.tensor([0, 1]), 8)
    assert split.statistics == ((20.0, 20.0, 0.0), (10.0, 10.0, 1.0))
    assert split.statistics == pixel_statistics([split.take([0, 1])])


def test_pixel_statistics_by_hand():
    """Channel 0: 0, 0, 100, 100: mean 50, deviation 50. Channel 1: all 7, deviation raised to 1."""
    images = torch.tensor([[[0, 0], [100, 100]], [[7, 7], [7, 7]]], dtype=torch.uint8)[None]
    assert pixel_statistics([images]) == ((50.0, 7.0), (50.0, 1.0))


def test_images_in_pieces_count_like_images_in_one():
    images = torch.randint(256, (10, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert pixel_statistics(images.split(3)) == pixel_statistics([images])
    expected = images.double().std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(pixel_statistics([images])[1]).double(), expected, atol=1e-3, rtol=0)
