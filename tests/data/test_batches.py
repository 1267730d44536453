"""Batches: every image once an epoch, the same by seed, and crop and flip as a plain reference makes them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import save_picture
from torch.nn import functional as F

from dqroute.data import Augmentation, FileSplit, ResizedCrop, Split, load
from dqroute.data.batches import Batches, StreamedBatches, batches_of

CPU = torch.device("cpu")
PLAIN = Augmentation(padding=0, flip=False)


def numbered(n=10, channels=2, height=5, width=4):
    """Images of random pixels from 1 to 255, labelled 0, 1, 2, …, so that a label names its image."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(n))


def one_epoch(split, augmentation, seed=0, batch_size=4):
    parts = list(Batches(split, augmentation, batch_size, CPU).epoch(seed))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def possible(image, padding, flip):
    """Every crop of the padded image to its old size, by plain slicing, and its mirror images if flips are on."""
    _, height, width = image.shape
    padded = F.pad(image, (padding,) * 4)
    crops = [
        padded[:, top : top + height, left : left + width]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    return crops, [crop.flip(2) for crop in crops] if flip else []


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_every_image_once_an_epoch_in_batches_of_the_size_asked(n, batch_size, seed):
    batches = Batches(numbered(n), Augmentation(padding=1, flip=True), batch_size, CPU)
    parts = list(batches.epoch(seed))
    assert len(parts) == len(batches)
    sizes = [len(labels) for _, labels in parts]
    if n > batch_size and n % batch_size == 1 or (batch_size == 1 and n > 1):
        # Batch norm cannot do with one image: it joins the batch before.
        assert sizes == [batch_size] * (n // batch_size - (2 if batch_size == 1 else 1)) + [batch_size + 1]
    else:
        full, rest = divmod(n, batch_size)
        assert sizes == [batch_size] * full + [rest] * (rest > 0)
    assert torch.cat([labels for _, labels in parts]).sort().values.tolist() == list(range(n))


def test_without_augmentation_images_are_the_images_with_their_labels():
    split = numbered()
    images, labels = one_epoch(split, PLAIN)
    assert images.dtype == torch.uint8
    assert torch.equal(images, split.images[labels])
    assert labels.tolist() != list(range(10))


@pytest.mark.parametrize("flip", [True, False])
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), padding=st.integers(1, 3))
def test_every_image_is_one_of_the_crops_a_plain_reference_makes(flip, seed, padding):
    split = numbered()
    images, labels = one_epoch(split, Augmentation(padding, flip), seed)
    for image, label in zip(images, labels.tolist(), strict=True):
        crops, mirrored = possible(split.images[label], padding, flip)
        assert any(torch.equal(image, candidate) for candidate in crops + mirrored)


def test_all_crops_and_flips_happen():
    """Padding 1 has 9 crops, each plain or mirrored: 18 in all, and over 300 epochs of one image all are seen."""
    split = numbered(n=1)
    batches = Batches(split, Augmentation(1, True), 1, CPU)
    crops, mirrored = possible(split.images[0], 1, True)
    seen, flips = set(), 0
    for seed in range(300):
        ((images, _),) = batches.epoch(seed)
        index = next(i for i, candidate in enumerate(crops + mirrored) if torch.equal(images[0], candidate))
        seen.add(index)
        flips += index >= 9
    assert seen == set(range(18))
    # Binomial(300, ½): four standard deviations are 35.
    assert 115 < flips < 185


def test_the_same_seed_gives_the_same_epoch_and_another_another():
    split, augmentation = numbered(), Augmentation(2, True)
    first, again, other = (one_epoch(split, augmentation, seed) for seed in (7, 7, 8))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_an_epoch_does_not_depend_on_the_batch_size_or_on_the_global_generator():
    split, augmentation = numbered(), Augmentation(2, True)
    whole = one_epoch(split, augmentation, 3, batch_size=100)
    torch.manual_seed(123)
    parts = one_epoch(split, augmentation, 3, batch_size=3)
    assert torch.equal(whole[0], parts[0]) and torch.equal(whole[1], parts[1])
    state = torch.get_rng_state()
    one_epoch(split, augmentation, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_split_itself_is_left_alone():
    split = numbered()
    before = split.images.clone()
    one_epoch(split, Augmentation(2, True))
    assert torch.equal(split.images, before)


def test_pixels_lie_with_channels_last():
    images, _ = next(Batches(numbered(), Augmentation(1, True), 4, CPU).epoch(0))
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_shares_of_several_processes_make_up_the_batches_of_one(count):
    augmentation = Augmentation(padding=1, flip=True)
    one = list(Batches(numbered(22), augmentation, 4, CPU).epoch(3, first=1))
    shares = [
        list(Batches(numbered(22), augmentation, 4, CPU, (rank, count)).epoch(3, first=1)) for rank in range(count)
    ]
    for (images, labels), *parts in zip(one, *shares, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert torch.equal(torch.cat([part for _, part in parts]), labels)


@pytest.mark.parametrize("first", [0, 1, 3])
def test_an_epoch_gone_on_with_has_the_batches_that_were_left(first):
    whole = list(Batches(numbered(), Augmentation(1, True), 4, CPU).epoch(7))
    rest = list(Batches(numbered(), Augmentation(1, True), 4, CPU).epoch(7, first))
    assert len(rest) == len(whole) - first
    for (images, labels), (again, same) in zip(whole[first:], rest, strict=True):
        assert torch.equal(images, again) and torch.equal(labels, same)


# --- of photographs in their files ---


@pytest.fixture
def data(photo_tree):
    return load(f"folder:{photo_tree}", size=24, stream=True, val=2)


@pytest.fixture
def split(data):
    """The training files, each with a label of its own."""
    return FileSplit(data.train.base, data.train.names, torch.arange(len(data.train)), 24)


def streamed_epoch(split, seed=0, batch_size=4, threads=None):
    parts = list(StreamedBatches(split, ResizedCrop(), batch_size, CPU, threads=threads).epoch(seed))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def test_every_image_comes_once_an_epoch_in_batches_of_the_size_asked(split):
    for batch_size in (1, 2, 4, 8, 100):
        batches = StreamedBatches(split, ResizedCrop(), batch_size, CPU)
        parts = list(batches.epoch(0))
        in_memory = Batches(load_in_memory(split), Augmentation(0), batch_size, CPU)
        assert [len(labels) for _, labels in parts] == [len(labels) for _, labels in in_memory.epoch(0)]
        assert len(batches) == len(parts)
        assert torch.cat([labels for _, labels in parts]).sort().values.tolist() == list(range(9))


def load_in_memory(split):
    return Split(split.take(range(len(split))), split.labels)


def test_an_epoch_depends_on_the_seed_alone(split):
    """Not on threads, batch size, the global generators, or epochs before it."""
    images, labels = streamed_epoch(split, seed=3)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    for options in ({"threads": 1}, {"threads": 5}, {"batch_size": 2}, {"batch_size": 100}):
        again = streamed_epoch(split, seed=3, **options)
        assert torch.equal(again[0], images) and torch.equal(again[1], labels)
    assert torch.equal(torch.get_rng_state(), state)
    other = streamed_epoch(split, seed=4)
    assert not torch.equal(other[1], labels)
    by_label = images[labels.argsort()], other[0][other[1].argsort()]
    assert all(not torch.equal(a, b) for a, b in zip(*by_label, strict=True))


def test_no_crop_of_one_seed_comes_back_with_another(tmp_path):
    """Twenty copies of one picture: epochs of neighbouring seeds have no crop in common."""
    for index in range(20):
        save_picture(tmp_path / f"{index}.jpg", 60, 80)
    copies = FileSplit(tmp_path, tuple(f"{index}.jpg" for index in range(20)), torch.arange(20), 8)
    crops = [bytes(image.contiguous().numpy()) for seed in range(3) for image in streamed_epoch(copies, seed)[0]]
    assert len(set(crops)) == 60


def test_streamed_batches_are_bytes_with_channels_last(split):
    images, labels = next(StreamedBatches(split, ResizedCrop(), 4, CPU).epoch(0))
    assert images.dtype == torch.uint8 and images.shape == (4, 3, 24, 24)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64 and labels.shape == (4,)


def test_an_image_set_gets_the_batches_of_its_kind(data, tiny):
    assert isinstance(batches_of(data, 4, CPU), StreamedBatches)
    assert isinstance(batches_of(tiny, 4, CPU), Batches)


def test_a_streamed_epoch_gone_on_with_has_the_batches_that_were_left(split):
    whole, rest = (list(StreamedBatches(split, ResizedCrop(), 4, CPU).epoch(3, first)) for first in (0, 1))
    assert len(rest) == len(whole) - 1
    for (images, labels), (again, same) in zip(whole[1:], rest, strict=True):
        assert torch.equal(images, again) and torch.equal(labels, same)


@pytest.mark.parametrize("count", [2, 3])
def test_the_streamed_shares_of_several_processes_make_up_the_batches_of_one(split, count):
    def batches(**share):
        return list(StreamedBatches(split, ResizedCrop(), 4, CPU, **share).epoch(3, first=1))

    one, shares = batches(), [batches(share=(rank, count)) for rank in range(count)]
    assert one
    for (images, labels), *parts in zip(one, *shares, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert torch.equal(torch.cat([part for _, part in parts]), labels)
