"""Trees of image files: what is read, and what is said about trees that are not in order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dqroute.data import load

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, color=RED, size=(32, 32), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)


def colors(split):
    """The middle pixel of each image."""
    side = split.images.shape[-1]
    return [tuple(pixel) for pixel in split.images[:, :, side // 2, side // 2].tolist()]


@pytest.fixture
def tree(tmp_path):
    """Three classes with 8, 4 and 2 training images and one test image each, one colour a class."""
    for name, color, number in (("ant", RED, 8), ("bee", GREEN, 4), ("cat", BLUE, 2)):
        for index in range(number):
            save(tmp_path / "train" / name / f"{index}.png", color)
        save(tmp_path / "test" / name / "0.png", color)
    return tmp_path


def test_a_tree_is_read_in_sorted_order(tree):
    data = load(f"folder:{tree}")
    assert data.class_names == ("ant", "bee", "cat")
    assert data.counts.tolist() == [8, 4, 2]
    assert data.shape == (3, 32, 32)
    assert colors(data.test) == [RED, GREEN, BLUE]
    assert colors(data.train) == [RED] * 8 + [GREEN] * 4 + [BLUE] * 2
    assert data.val is None
    assert (data.augmentation.padding, data.augmentation.flip) == (4, True)


def test_root_and_path_name_the_same_set(tree):
    a, b = load(f"folder:{tree}"), load("folder", root=tree)
    assert a.fingerprint() == b.fingerprint()
    assert a.identity == b.identity


def test_only_images_that_are_drawn_are_decoded(tree):
    drawn = load(f"folder:{tree}", imbalance=4, n_max=4, seed=2)
    assert drawn.counts.tolist() == [4, 2, 1]
    # Nothing but the images that this seed does not draw is damaged; reading them all then fails.
    for index in range(8):
        file = tree / "train" / "ant" / f"{index}.png"
        good = file.read_bytes()
        file.write_bytes(b"damaged")
        try:
            load(f"folder:{tree}", imbalance=4, n_max=4, seed=2)
        except ValueError:
            file.write_bytes(good)
    damaged = [index for index in range(8) if (tree / "train" / "ant" / f"{index}.png").read_bytes() == b"damaged"]
    assert len(damaged) == 4
    with pytest.raises(ValueError, match="cannot read train/ant/"):
        load(f"folder:{tree}")


def test_validation_from_training_images_and_from_a_folder(tree):
    for file in tree.glob("train/*/*.png"):  # of other content, or they would all stay together
        file.write_bytes(file.read_bytes() + file.name.encode())
    held = load(f"folder:{tree}", val=0.5)
    assert (held.counts.tolist(), torch.bincount(held.val.labels).tolist()) == ([4, 2, 1], [4, 2, 1])
    save(tree / "val" / "bee" / "x.png", GREEN)
    given = load(f"folder:{tree}")
    assert (given.val.labels.tolist(), colors(given.val)) == ([1], [GREEN])
    assert given.identity != load(f"folder:{tree}", seed=1).identity
    with pytest.raises(ValueError, match="has validation images of its own; leave val=0.5 out"):
        load(f"folder:{tree}", val=0.5)


def test_the_identity_follows_names_and_sizes_not_the_place(tree, tmp_path_factory):
    before = load(f"folder:{tree}").identity
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    tree.rename(moved)
    assert load(f"folder:{moved}").identity == before
    assert str(moved) not in str(before)
    (moved / "train" / "ant" / "0.png").rename(moved / "train" / "ant" / "00.png")
    assert load(f"folder:{moved}").identity["files"] != before["files"]


def test_names_with_spaces_and_other_scripts_hidden_files_and_other_files(tree):
    (tree / "train" / "cat").rename(tree / "train" / "ленивая кошка 猫")
    (tree / "test" / "cat").rename(tree / "test" / "ленивая кошка 猫")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "ant" / "._0.png").write_bytes(b"left by another system")
    (tree / "train" / "ant" / "notes.txt").write_text("no image")
    save(tree / "train" / "ant" / "UPPER CASE.PNG", RED)
    data = load(f"folder:{tree}")
    assert data.class_names == ("ant", "bee", "ленивая кошка 猫")
    assert data.counts.tolist() == [9, 4, 2]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"])
def test_kinds_of_files(tree, suffix):
    save(tree / "test" / "ant" / f"0{suffix}", BLUE)
    (tree / "test" / "ant" / "0.png").unlink()
    read = np.array(colors(load(f"folder:{tree}").test)[0])
    assert np.abs(read - np.array(BLUE)).max() <= 4  # lossy kinds


def test_of_an_animation_the_first_frame_is_taken(tree):
    first, second = (Image.new("RGB", (32, 32), color) for color in (GREEN, RED))
    first.save(tree / "test" / "ant" / "0.gif", save_all=True, append_images=[second])
    (tree / "test" / "ant" / "0.png").unlink()
    assert colors(load(f"folder:{tree}").test)[0] == GREEN


def test_modes_other_than_rgb(tree):
    place = tree / "test" / "ant"
    (place / "0.png").unlink()
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(place / "a.jpg", quality=95)
    deep = np.full((32, 32), 40_000, dtype=np.uint16)
    deep[0, :16] = 39_000  # what lies between is spread over all levels
    Image.fromarray(deep).save(place / "b.png")
    Image.new("L", (32, 32), 77).save(place / "c.png")
    Image.new("1", (32, 32), 1).save(place / "d.png")
    Image.new("RGBA", (32, 32), (*GREEN, 128)).save(place / "e.png")
    Image.new("RGB", (32, 32), BLUE).convert("P").save(place / "f.png", transparency=0)
    seen = colors(load(f"folder:{tree}").test)[:6]
    assert np.abs(np.array(seen[0]) - np.array(RED)).max() <= 6
    assert seen[1:5] == [(255,) * 3, (77,) * 3, (255,) * 3, GREEN]
    assert np.abs(np.array(seen[5]) - np.array(BLUE)).max() <= 6


def test_images_of_no_numbers_are_refused(tree):
    Image.fromarray(np.full((32, 32), np.inf, dtype=np.float32)).save(tree / "test" / "ant" / "deep.tif")
    with pytest.raises(ValueError, match="test/ant/deep.tif .*pixels that are no numbers"):
        load(f"folder:{tree}")


def test_photographs_are_turned_upright_cropped_and_resized(tree):
    # Stored lying on its side: left half red, right half blue. Turned by 90 degrees clockwise, red is on top.
    photo = Image.new("RGB", (64, 40), BLUE)
    photo.paste(RED, (0, 0, 32, 40))
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.save(tree / "test" / "ant" / "0.jpg", exif=turned, quality=95)
    (tree / "test" / "ant" / "0.png").unlink()
    image = load(f"folder:{tree}", size=16).test.images[0].float()
    assert image.shape == (3, 16, 16)
    assert image[0, 2, :].min() > 230 and image[2, 2, :].max() < 25
    assert image[2, 13, :].min() > 230 and image[0, 13, :].max() < 25


def test_the_crop_is_the_middle(tree):
    wide = Image.new("RGB", (120, 40), RED)
    wide.paste(GREEN, (40, 0, 80, 40))
    wide.save(tree / "test" / "ant" / "0.png")
    image = load(f"folder:{tree}", size=20).test.images[0]
    assert image[1, :, 3:-3].min() == 255
    assert image[0, :, 3:-3].max() == 0


@pytest.mark.parametrize("stream", [False, True])
def test_left_and_right_are_swapped_unless_told_otherwise(tree, stream):
    """It is how a set is trained on, and not which images it has."""
    usual, upright = (load(f"folder:{tree}", size=8, stream=stream, flip=flip) for flip in (True, False))
    assert usual.augmentation == load(f"folder:{tree}", size=8, stream=stream).augmentation
    assert usual.augmentation == replace(upright.augmentation, flip=True) != upright.augmentation
    assert usual.identity == upright.identity


def test_a_common_square_size_is_taken_and_pictures_of_many_sizes_stay_in_their_files(tree):
    for file in tree.rglob("*.png"):
        save(file, size=(24, 24))
    data = load(f"folder:{tree}")
    assert data.shape == (3, 24, 24)
    assert data.augmentation.padding == 3
    save(tree / "train" / "bee" / "1.png", size=(30, 20))
    many = load(f"folder:{tree}")
    assert many.shape == (3, 160, 160) and many.identity["stream"]
    assert any("pictures are of 2 sizes" in note for note in many.notes)
    with pytest.raises(ValueError, match=r"no squares of one size: .*, train/bee/1.png \(30x20\); pass size="):
        load(f"folder:{tree}", stream=False)
    save(tree / "train" / "ant" / "0.png", size=(30, 20))
    with pytest.raises(ValueError, match=r"train/ant/0.png \(30x20\), .*; pass size="):
        load(f"folder:{tree}", stream=False)
    assert load(f"folder:{tree}", size=10).shape == (3, 10, 10)


def test_damaged_files_are_named(tree):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    truncated = tree / "train" / "ant" / "0.png"
    Image.fromarray(noise).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"cannot read train/ant/0.png \(.+\); mend such files, or leave them out"):
        load(f"folder:{tree}")
    (tree / "train" / "bee" / "1.png").write_bytes(b"no image at all")
    with pytest.raises(
        ValueError, match=r"train/ant/0.png .*train/bee/1.png \(no picture of a kind that is read here\).*such files"
    ):
        load(f"folder:{tree}")
    for index in range(8):
        (tree / "train" / "ant" / f"{index}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="9 images, among them train/ant/0.png") as error:
        load(f"folder:{tree}")
    assert str(error.value).count(".png") == 5
    for file in tree.glob("train/*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(
        ValueError, match="cannot read 14 images, among them train/ant/0.png .*; mend such files, or leave"
    ):
        load(f"folder:{tree}")


def test_a_truncated_jpeg_is_named(tree):
    file = tree / "test" / "cat" / "0.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:-600])
    with pytest.raises(ValueError, match="cannot read test/cat/0.jpg .*truncated"):
        load(f"folder:{tree}")


def test_missing_parts(tree):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load(f"folder:{tree}/nowhere")
    (tree / "test").rename(tree / "testing")
    assert len(load(f"folder:{tree}").test) == 3  # it may be called so
    (tree / "train").rename(tree / "pictures")
    with pytest.raises(ValueError, match="has 'testing' and no train folder; expected train/<class>"):
        load(f"folder:{tree}")
    (tree / "train").mkdir()
    with pytest.raises(ValueError, match="train has no class folder"):
        load(f"folder:{tree}")
    with pytest.raises(ValueError, match="needs a path"):
        load("folder:")


def test_classes_that_do_not_match(tree):
    save(tree / "test" / "dog" / "0.png")
    with pytest.raises(ValueError, match="test has class 'dog' that train has not"):
        load(f"folder:{tree}")
    (tree / "test" / "dog").rename(tree / "train" / "dog")
    with pytest.raises(ValueError, match="train has class 'dog' that test has not"):
        load(f"folder:{tree}")
    (tree / "test" / "dog").mkdir()
    with pytest.raises(ValueError, match="train has class 'dog' that test has not; add test images"):
        load(f"folder:{tree}")


def test_size_out_of_range(tree):
    with pytest.raises(ValueError, match="at least 1; got 0"):
        load(f"folder:{tree}", size=0)
