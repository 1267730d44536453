"""What an image set refuses to be, and what it tells of itself."""

from dataclasses import replace

import pytest
import torch

from dqroute.core.long_tail import shot_groups
from dqroute.data import Augmentation, ImageSet, Split

NAMES = ("ant", "bee", "cat")
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def split(labels=LABELS, images=None) -> Split:
    return Split(torch.zeros(len(labels), 3, 4, 5, dtype=torch.uint8) if images is None else images, labels)


def image_set(**parts) -> ImageSet:
    given = {"train": split(), "test": split(torch.tensor([0, 1, 2]))} | parts
    groups = shot_groups([3, 2, 1], "thirds")
    return ImageSet("insects", class_names=NAMES, groups=groups, augmentation=Augmentation(), identity={}, **given)


def test_numbers_of_a_set():
    data = image_set()
    assert data.counts.tolist() == [3, 2, 1] and data.imbalance == 3
    assert data.num_classes == 3 and data.shape == (3, 4, 5)
    assert list(data.splits) == ["train", "test"]
    assert list(image_set(val=split()).splits) == ["train", "test", "val"]
    assert repr(data) == str(data) == "<ImageSet 'insects': 3 classes; 6 for train, 3 for test>"


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("train", split(torch.tensor([0, 1, 3])), "train label 3 is out of range: there are 3 classes.* 0 to 2"),
        ("test", split(torch.tensor([0, -1, 2])), "test label -1 is out of range"),
        ("val", split(torch.tensor([0, 1, 2]).int()), "val labels must be int64"),
        ("train", split(images=torch.zeros(6, 3, 4, 4)), r"train images must be uint8 \[N, channels, height, width\]"),
        ("train", split(images=torch.zeros(6, 4, 4, dtype=torch.uint8)), r"got torch.uint8 \[6, 4, 4\]"),
        ("test", split(images=torch.zeros(2, 3, 4, 4, dtype=torch.uint8)), r"test labels must be int64 \[2\]"),
        ("test", split(LABELS[:0]), "the test split holds no image"),
        ("val", split(LABELS[:0]), "the val split holds no image"),
        ("train", split(torch.tensor([0, 0, 2])), "no training image for class 'bee'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(part, wrong, message):
    with pytest.raises(ValueError, match=message):
        image_set(**{part: wrong})


def test_the_fingerprint_sees_every_pixel_and_label():
    data = image_set()
    pixel = data.train.images.clone()
    pixel[5, 2, 3, 4] = 1
    changed = replace(data, train=Split(pixel, LABELS))
    relabelled = replace(data, train=split(torch.tensor([0, 0, 0, 1, 2, 1])))
    prints = {data.fingerprint(), changed.fingerprint(), relabelled.fingerprint()}
    assert len(prints) == 3 and data.fingerprint() == image_set().fingerprint()


def test_a_name_that_is_no_text_is_refused_with_the_remedy():
    """As a folder's is that was named on a system with another encoding."""
    with pytest.raises(ValueError, match=r"caf\\udce9' is not UTF-8.*rename the folder"):
        replace(image_set(), class_names=("ant", "bee", "caf\udce9"))


def test_no_images_can_be_taken():
    assert split().take([]).shape == (0, 3, 4, 5)
