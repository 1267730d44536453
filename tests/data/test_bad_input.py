"""Bad input, a table: what is wrong, and the words in which it is told. Nothing hangs, and nothing is lost.

What single parts do with bad input is tested beside them; here everything goes through ``dq.load`` and ``dq.fit``.
"""

import gzip
import re
import struct
import zlib

import numpy as np
import pytest
from photos import picture, save_picture
from PIL import Image

import dqroute as dq
from dqroute.data import load

LINES = {"train": [("a/1.png", 0), ("a/2.png", 0), ("b/1.png", 1)], "test": [("a/3.png", 0), ("b/3.png", 1)]}


def write_list(folder, part, lines):
    (folder / f"{part}.txt").write_text("".join(f"{' '.join(map(str, line))}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def listed(tmp_path):
    """Five pictures of 8x8 and their lists."""
    for seed, (name, _) in enumerate(LINES["train"] + LINES["test"]):
        save_picture(tmp_path / name, 8, 8, seed)
    for part, lines in LINES.items():
        write_list(tmp_path, part, lines)
    return tmp_path


@pytest.fixture
def tree(tmp_path):
    """Two classes with two training images and one test image each, of 8x8."""
    for seed, name in enumerate(["train/a/1", "train/a/2", "train/b/1", "train/b/2", "test/a/1", "test/b/1"]):
        save_picture(tmp_path / f"{name}.png", 8, 8, seed)
    return tmp_path


# --- lists: which part is changed, the lines it gets, what is said ---

LISTS = {
    "no label": (
        "train",
        [*LINES["train"], ("b/2.png",)],
        r"train.txt: line 4 \('b/2.png': no label\) is not a path and",
    ),
    "a comma": ("test", [("a/3.png,0",)], r"test.txt: line 1 .*no label.*correct the list"),
    "label of letters": ("train", [("a/1.png", "cat")], r"train.txt: line 1 \(label 'cat' is no class index from 0\)"),
    "label with a point": ("train", [("a/1.png", "1.0")], r"line 1 \(label '1.0' is no class index from 0\)"),
    "label in other digits": ("train", [("a/1.png", "١")], r"line 1 \(label '١' is no class index from 0\)"),
    "negative label": (
        "train",
        [*LINES["train"], ("b/2.png", -1)],
        r"train.txt: line 4 \(label '-1' is no class index from 0\)",
    ),
    "label beyond reason": ("train", [("a/1.png", 10**30)], r"line 1 \(label '10+' is no class index from 0\)"),
    "a gap": (
        "train",
        [("a/1.png", 0), ("b/1.png", 2)],
        r"train.txt has 2 classes, and labels up to 2: label 1 has no im",
    ),
    "labels from 1": ("train", [("a/1.png", 1), ("b/1.png", 2)], r"label 0 has no image; number the classes from 0"),
    "a huge gap": ("train", [("a/1.png", 0), ("b/1.png", 999_999_999)], r"has 2 classes, and labels up to 999,999,999"),
    "a class that is not trained": (
        "test",
        [*LINES["test"], ("c/1.png", 2)],
        r"test.txt has label 2 that .*train.txt has",
    ),
    "a class that is not tested": ("test", LINES["test"][:1], r"train.txt has label 1 that .*test.txt has not"),
    "one class": ("train", [("a/1.png", 0)], r"test.txt has label 1 that .*train.txt has not"),
    "twice in a list": (
        "train",
        [*LINES["train"], ("a/1.png", 1)],
        r"train.txt lists 'a/1.png' in lines 1 and",
    ),
    "in two lists": (
        "test",
        [*LINES["test"], ("b/1.png", 1)],
        r"'b/1.png' stands in .*train.txt and in .*test.txt; remove",
    ),
    "missing": ("test", [*LINES["test"], ("b/9.png", 1)], r"1 of 6 files are missing below .*: b/9.png \(No such file"),
    "a folder": ("test", [*LINES["test"], ("b", 1)], r"1 of 6 files are missing below .*: b \(not a plain file\)"),
    "an absolute path": ("train", [("/a/1.png", 0)], r"line 1 \('/a/1.png' does not start below the images' folder\)"),
    "no path": ("train", [("a\0.png", 0)], r"line 1 \('a.*.png' is no path\) is not a path and a label"),
    "no line at all": ("train", [], r"train.txt lists no image; expected lines of a path and a label"),
    "no picture": (
        "test",
        [*LINES["test"], ("train.txt", 0)],
        r"cannot read train.txt \(no picture of a kind that is read here\); mend",
    ),
}


@pytest.mark.parametrize(("part", "lines", "said"), LISTS.values(), ids=LISTS)
def test_a_list_out_of_order_is_told_in_one_error(listed, part, lines, said):
    write_list(listed, part, lines)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load(f"list:{listed}", size=8)


def test_lists_of_one_label_are_named(listed):
    for part in LINES:
        write_list(listed, part, [line for line in LINES[part] if line[1] == 0])
    with pytest.raises(ValueError, match=r"train.txt has label 0 alone; there must be two classes at least"):
        load(f"list:{listed}", size=8)


def test_lists_that_are_not_there_or_there_twice(listed):
    with pytest.raises(ValueError, match=r"list needs the folder .*load\(\"list:PATH\"\)"):
        load("list:")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; give the one that paths in the lists"):
        load(f"list:{listed}/nowhere")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; give lists="):
        load(f"list:{listed}", lists=listed / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no Places_LT_train.txt or Places_LT_train.txt.gz; put it there"):
        load(f"places-lt:{listed}")
    with pytest.raises(ValueError, match="lists has no 'test'; it names the files of train and test"):
        load(f"list:{listed}", lists={"train": listed / "train.txt"})
    with pytest.raises(ValueError, match="lists has 'tests'; it names"):
        load(f"list:{listed}", lists={"train": listed / "train.txt", "tests": listed / "test.txt"})
    with pytest.raises(FileNotFoundError, match="there is no list .*other.txt"):
        load(f"list:{listed}", lists={"train": listed / "other.txt", "test": listed / "test.txt"})
    (listed / "train.txt.gz").write_bytes(gzip.compress((listed / "train.txt").read_bytes()))
    with pytest.raises(ValueError, match="has train.txt, train.txt.gz; name the one to take: lists="):
        load(f"list:{listed}")


@pytest.mark.parametrize("names", [["cat"], ["cat", "cat"], ["cat", "dog", "cow"]], ids=str)
def test_class_names_that_do_not_fit(listed, names):
    with pytest.raises(
        ValueError, match=f"there are 2 classes, and {len(set(names))} different class names were given"
    ):
        load(f"list:{listed}", class_names=names)


@pytest.mark.parametrize(("option", "value"), [("class_names", 3), ("order", {"a": 1}), ("order", ["cat", "dog"])])
def test_names_and_orders_of_another_kind_are_told_in_a_sentence(listed, option, value):
    said = {
        "class_names": "class_names is names in label order, or a file of them",
        "order": "order is 'label', 'count'",
    }
    with pytest.raises(ValueError, match=f"{said[option]}.*; got {re.escape(repr(value))}"):
        load(f"list:{listed}", **{option: value})


def test_names_with_blanks_quotes_line_separators_and_other_scripts_work(listed):
    odd = [
        "a/ two  blanks .png",
        "a/ленивая кошка 猫 🐈.png",
        "a/'quoted' \"name\",1.png",
        "a/no\u00a0break\u2028.png",
        "-1",
    ]
    for seed, name in enumerate(odd):
        save_picture(listed / name, 8, 8, seed, format="PNG")
    write_list(listed, "train", [*((name, 0) for name in odd), ("b/1.png", 1)])
    assert load(f"list:{listed}", size=8).counts.tolist() == [5, 1]


# --- trees ---


def link_in_a_circle(tree):
    (tree / "train" / "a" / "3.png").symlink_to("3.png")


def folder_link_in_a_circle(tree):
    (tree / "train" / "c").symlink_to("c", target_is_directory=True)


def link_to_nothing(tree):
    (tree / "test" / "b" / "2.png").symlink_to(tree / "moved away.png")


def no_class(tree):
    for name in "ab":
        (tree / "test" / name).rename(tree / f"moved {name}")


def class_only_in_train(tree):
    save_picture(tree / "train" / "c" / "1.png", 8, 8)


def class_only_in_test(tree):
    save_picture(tree / "test" / "c" / "1.png", 8, 8)


TREES = [
    (link_in_a_circle, r"1 of \d+ files are missing below .*: train/a/3.png \(Too many levels of symbolic links\)"),
    (folder_link_in_a_circle, "has links that lead nowhere: 'train/c'; mend or remove them"),
    (link_to_nothing, r"1 of \d+ files are missing below .*: test/b/2.png \(No such file or directory\)"),
    (no_class, "test has no class folder; expected test/<class>"),
    (class_only_in_train, "train has class 'c' that test has not; add test images or remove the class"),
    (class_only_in_test, "test has class 'c' that train has not; add training images or remove the class"),
]


@pytest.mark.parametrize(("spoil", "said"), TREES, ids=[spoil.__name__ for spoil, _ in TREES])
def test_a_tree_out_of_order_is_told_in_one_error(tree, spoil, said):
    whole = load(f"folder:{tree}").identity
    spoil(tree)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load(f"folder:{tree}")
    if "files are missing" in said:
        assert load(f"folder:{tree}", skip_damaged=True).identity == whole


# --- images ---


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *chunks):
    """A grey PNG that claims a size, whatever it holds."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def jpeg_of(tmp_path, **options):
    save_picture(tmp_path / "made.jpg", 40, 60, quality=90, **options)
    return bytearray((tmp_path / "made.jpg").read_bytes())


def enormous_jpeg(tmp_path):
    """A small file whose header claims 65,500 pixels a side: 4 gigapixels."""
    data = jpeg_of(tmp_path)
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def damaged_png(tmp):
    """As long as it should be, and its pixels garbled half way: all but the first are from a broken stream."""
    data = bytearray(zlib.compress(picture(8, 8).tobytes() * 3))
    data[len(data) // 2 :] = bytes(255 - value for value in data[len(data) // 2 :])
    return png(8, 8, png_chunk(b"IDAT", bytes(data)))


IMAGES = {
    "truncated JPEG": ("1.jpg", lambda tmp: bytes(jpeg_of(tmp)[:-200]), "truncated"),
    "truncated progressive JPEG": ("1.jpg", lambda tmp: bytes(jpeg_of(tmp, progressive=True)[:-200]), "truncated"),
    "half a PNG": ("1.png", lambda tmp: png(8, 8, png_chunk(b"IDAT", zlib.compress(bytes(30)))), ""),
    "PNG of damaged data": ("1.png", damaged_png, ""),
    "enormous PNG": ("1.png", lambda tmp: png(60_000, 60_000, png_chunk(b"IDAT", b"")), "too many pixels for Pillow"),
    "enormous JPEG": ("1.jpg", enormous_jpeg, "too many pixels for Pillow"),
    "PNG whose text unpacks to a gigabyte": (
        "1.png",
        lambda tmp: png(8, 8, png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**7))), png_chunk(b"IDAT", b"")),
        "too large",
    ),
    "empty": ("1.png", lambda tmp: b"", "empty file"),
    "text": ("1.png", lambda tmp: b"<html>not found</html>", "no picture of a kind that is read here"),
    "no numbers": ("1.tif", lambda tmp: tiff_of(tmp), "pixels that are no numbers"),
}


def tiff_of(tmp_path):
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "made.tif")
    return (tmp_path / "made.tif").read_bytes()


@pytest.mark.parametrize("stream", [False, True], ids=["in memory", "in files"])
@pytest.mark.parametrize(("name", "content", "said"), IMAGES.values(), ids=IMAGES)
def test_an_image_that_cannot_be_read_is_named_with_what_is_wrong(tree, tmp_path, name, content, said, stream):
    (tree / "train" / "b" / "1.png").unlink()
    (tree / "train" / "b" / name).write_bytes(content(tmp_path))
    with pytest.raises(ValueError, match=rf"cannot read train/b/{name} \(.*{said}.*\); (mend|restore)"):
        for _ in load(f"folder:{tree}", size=8, stream=stream).train.chunks(4):
            pass


def rgb(**options):
    return lambda file: Image.fromarray(picture(30, 40)).save(file, **options)


def animation(file):
    first, second = (Image.fromarray(picture(30, 40, seed)) for seed in (0, 1))
    first.save(file, save_all=True, append_images=[second])


def deep(file):
    Image.fromarray(picture(30, 40)[:, :, 0].astype(np.uint16) * 257).save(file)


KINDS = {
    "CMYK": ("1.jpg", lambda file: Image.fromarray(picture(30, 40)).convert("CMYK").save(file, quality=95)),
    "16 bits": ("1.png", deep),
    "animated GIF": ("1.gif", animation),
    "animated WebP": ("1.webp", animation),
    "one pixel": ("1.png", lambda file: Image.fromarray(picture(1, 1)).save(file)),
    "one row": ("1.jpg", lambda file: Image.fromarray(picture(1, 3000)).save(file)),
    "progressive": ("1.jpg", rgb(progressive=True)),
    "palette": ("1.png", lambda file: Image.fromarray(picture(30, 40)).quantize(16).save(file)),
}


def test_odd_images_train_and_are_evaluated_in_files_and_in_memory(tree, runs_dir, quick):
    """All kinds at once, in training and in test; each comes out as PIL shows its first frame, near enough."""
    for part in ("train", "test"):
        for kind, (name, save) in KINDS.items():
            save(tree / part / "a" / f"{kind} {name}")
    in_files, in_memory = (load(f"folder:{tree}", size=16, stream=stream) for stream in (True, False))
    assert all((a == b).all() for a, b in zip(in_files.test.chunks(1), in_memory.test.chunks(1), strict=True))
    wanted = load_plain(picture(30, 40))
    for kind in ("CMYK", "animated GIF", "animated WebP", "progressive"):
        index = sorted([f"{kind} {name}" for kind, (name, _) in KINDS.items()] + ["1.png"]).index(
            f"{kind} {KINDS[kind][0]}"
        )
        assert np.abs(in_memory.test.images[index].permute(1, 2, 0).numpy().astype(int) - wanted).mean() < 12, kind
    run = dq.fit("cross-entropy", in_files, epochs=1, runs_dir=runs_dir, **quick)
    assert dq.evaluate(run, device="cpu").images == 2 + len(KINDS)


def load_plain(pixels):
    side = min(pixels.shape[:2])
    left = (pixels.shape[1] - side) // 2
    return np.asarray(Image.fromarray(pixels[:, left : left + side]).resize((16, 16), Image.Resampling.BICUBIC), int)


# --- nothing is lost ---


def test_a_file_that_goes_missing_after_loading_is_told_before_training_and_costs_no_finished_epoch(
    listed, runs_dir, quick
):
    data = load(f"list:{listed}", size=8, stream=True)
    (listed / "b/1.png").rename(listed / "kept.png")
    with pytest.raises((FileNotFoundError, ValueError), match="b/1.png .No such file or directory.; mend"):
        dq.fit("cross-entropy", data, epochs=1, runs_dir=runs_dir, **quick)
    (listed / "kept.png").rename(listed / "b/1.png")
    assert dq.fit("cross-entropy", data, epochs=1, runs_dir=runs_dir, **quick).finished
