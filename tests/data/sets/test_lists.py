"""Sets from lists: the published ones in their own layout, any other, and what is said about lists out of order."""

import gzip
import os
import warnings

import pytest
import torch
from photos import picture, save_picture
from PIL import Image

import dqroute as dq
from dqroute.data import FileSplit, load
from dqroute.data.sets import lists

IMAGENET = {
    "train": [("train/n01440764/n01440764_10026.JPEG", 0), ("train/n01440764/n01440764_762.JPEG", 0)]
    + [("train/n01443537/n01443537_2.JPEG", 1)],
    "val": [("train/n01440764/n01440764_3778.JPEG", 0), ("train/n01443537/n01443537_9.JPEG", 1)],
    "test": [("val/n01440764/ILSVRC2012_val_00029930.JPEG", 0), ("val/n01443537/ILSVRC2012_val_00000236.JPEG", 1)],
}
PLACES = {
    "train": [("data_256/a/airfield/00004851.jpg", 0), ("data_256/a/airfield/00004596.jpg", 0)]
    + [("data_256/f/field/wild/00000007.jpg", 1)],
    "val": [("data_256/a/airfield/00002049.jpg", 0)],
    "test": [("val_256/Places365_val_00003597.jpg", 0), ("val_256/Places365_val_00000001.jpg", 1)],
}


def write_lists(folder, parts, prefix="", packed=False):
    """The lists alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, lines in parts.items():
        text = "".join(f"{name} {label}\n" for name, label in lines).encode()
        file = folder / f"{prefix}{part}.txt{'.gz' if packed else ''}"
        file.write_bytes(gzip.compress(text) if packed else text)
    return folder


def make_tree(root, parts):
    """A picture, each another, for every line."""
    for seed, (name, _) in enumerate(line for lines in parts.values() for line in lines):
        save_picture(root / name, 40 + seed, 60, seed, format="JPEG")
    return root


@pytest.fixture(params=[False, True], ids=["plain", "gzipped"])
def places(request, tmp_path):
    """Images and lists in the layout of Places-LT, in two folders."""
    write_lists(tmp_path / "lists", PLACES, "Places_LT_", request.param)
    return make_tree(tmp_path / "places", PLACES), tmp_path / "lists"


@pytest.fixture
def own(tmp_path):
    """A set of one's own: lists beside the images."""
    return write_lists(make_tree(tmp_path, PLACES), PLACES)


@pytest.mark.filterwarnings("ignore:the training list has")
def test_places_in_its_own_layout(places):
    root, folder = places
    data = load("places-lt", root=root, lists=folder)
    assert (data.name, data.class_names, data.shape) == ("places-lt", ("a/airfield", "f/field/wild"), (3, 224, 224))
    assert [part.labels.tolist() for part in data.splits.values()] == [[0, 0, 1], [0, 1], [0]]
    again = load(f"places-lt:{root}", lists={part: next(folder.glob(f"*{part}*")) for part in PLACES})
    assert again.identity == data.identity and again.fingerprint() == data.fingerprint()
    assert torch.equal(data.test.images[1], dq.read_images([root / PLACES["test"][1][0]], 224)[0])
    streamed = load("places-lt", root=root, lists=folder, size=32, stream=True)
    assert isinstance(streamed.train, FileSplit) and list(streamed.train.names) == [name for name, _ in PLACES["train"]]


@pytest.mark.filterwarnings("ignore:the training list has")
def test_imagenet_in_its_own_layout_with_the_lists_beside_the_images(tmp_path):
    write_lists(make_tree(tmp_path, IMAGENET), IMAGENET, "ImageNet_LT_", packed=True)
    data = load(f"imagenet-lt:{tmp_path}", size=32)
    assert (data.name, data.class_names) == ("imagenet-lt", ("n01440764", "n01443537"))
    assert (data.counts.tolist(), len(data.val), len(data.test)) == ([2, 1], 2, 2)
    without = {part: tmp_path / f"ImageNet_LT_{part}.txt.gz" for part in ("train", "test")}
    assert load(f"imagenet-lt:{tmp_path}", lists=without, size=32).val is None


def test_lists_that_are_not_the_published_ones_are_told_of(places, monkeypatch):
    root, folder = places
    with pytest.warns(UserWarning, match="3 images of 2 classes, the published one of places-lt 62,500 of 365"):
        load("places-lt", root=root, lists=folder, size=8)
    monkeypatch.setitem(lists.PUBLISHED, "places-lt", (3, 2, 2, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("places-lt", root=root, lists=folder, size=8)
    monkeypatch.setitem(lists.PUBLISHED, "places-lt", (3, 2, 3, 1))
    with pytest.warns(UserWarning, match="do not compare"):
        load("places-lt", root=root, lists=folder, size=8)


def test_published_sets_keep_their_own_tail(places):
    root, folder = places
    with pytest.raises(ValueError, match="places-lt is long-tailed as it is published; leave imbalance=10 out"):
        load("places-lt", root=root, lists=folder, imbalance=10)


def test_any_folder_by_lists(own, tmp_path):
    data = load(f"list:{own}", size=16)
    assert (
        data.name == own.name and data.counts.tolist() == [2, 1] and data.class_names == ("a/airfield", "f/field/wild")
    )
    (own / "names.txt").write_text("Flugfeld\nWiese\n")
    for names in (own / "names.txt", ["Flugfeld", "Wiese"]):
        assert load(f"list:{own}", size=16, class_names=names).class_names == ("Flugfeld", "Wiese")
    assert str(own) not in str(data.identity)
    (own / "test.txt").rename(own / "mine_test.txt")
    assert load(f"list:{own}", size=16).identity == data.identity


def test_images_in_one_folder_have_their_labels_for_names(tmp_path):
    parts = {"train": [("1.png", 0), ("2.png", 1)], "test": [("3.png", 1), ("4.png", 0)]}
    for name, _ in parts["train"] + parts["test"]:
        save_picture(tmp_path / name, 8, 8)
    assert load(f"list:{write_lists(tmp_path, parts)}").class_names == ("0", "1")


def test_a_list_of_ones_own_is_thinned_and_held_out_like_a_folder(tmp_path):
    train = [(f"{c}/{index}.png", c) for c in range(2) for index in range(8)]
    parts = {"train": train, "test": [("0/test.png", 0), ("1/test.png", 1)]}
    for seed, (name, _) in enumerate(parts["train"] + parts["test"]):
        save_picture(tmp_path / name, 8, 8, seed)
    write_lists(tmp_path, parts)
    data = load(f"list:{tmp_path}", imbalance=4, val=1)
    assert (data.counts.tolist(), len(data.val)) == ([7, 1], 2)


def test_the_identity_follows_labels_names_and_sizes(own):
    before = load(f"list:{own}", size=16).identity
    (own / "val.txt").write_text(f"{PLACES['val'][0][0]} 1\n")
    relabelled = load(f"list:{own}", size=16).identity
    assert relabelled["files"] == before["files"] and relabelled["labels"] != before["labels"]
    file = own / PLACES["test"][0][0]
    file.write_bytes(file.read_bytes() + b"more")
    assert load(f"list:{own}", size=16).identity["files"] != before["files"]


def test_missing_images_are_counted_and_named_before_anything_is_read(own):
    gone = [PLACES["train"][1][0], PLACES["test"][0][0]]
    for name in gone:
        (own / name).unlink()
    (own / PLACES["train"][0][0]).write_bytes(b"damaged, which only reading would tell")
    with pytest.raises(FileNotFoundError, match="2 of 6 files are missing below .*restore .* or give root=") as error:
        load(f"list:{own}", size=16)
    assert all(name in str(error.value) for name in gone)
    elsewhere = own / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(FileNotFoundError, match="6 of 6 files are missing below .*elsewhere: .*, …; restore") as error:
        load("list", root=elsewhere, lists=own, size=16)
    assert str(error.value).count(".jpg") == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_a_folder_in_an_images_place_is_missing_and_not_waited_for(own):
    name = PLACES["train"][0][0]
    (own / name).unlink()
    os.mkfifo(own / name)
    with pytest.raises(FileNotFoundError, match=rf"1 of 6 files are missing below .*: {name} \(not a plain file\)"):
        load(f"list:{own}", size=16)


def test_damaged_images_of_lists_are_left_out_if_asked_unless_a_class_is_lost(own, capsys):
    cut, gone, extra = PLACES["train"][0][0], PLACES["val"][0][0], ("data_256/f/field/wild/00000008.jpg", 1)
    parts = PLACES | {"val": [*PLACES["val"], extra]}
    write_lists(own, parts)
    save_picture(own / extra[0], 40, 60, 9, format="JPEG")
    whole = load(f"list:{own}", size=16)
    (own / cut).write_bytes((own / cut).read_bytes()[:100])
    (own / gone).unlink()
    data = load(f"list:{own}", size=16, skip_damaged=True)
    said = capsys.readouterr().out
    assert "2 damaged files are left out: " in said and f"{cut} (" in said and f"{gone} (No such file" in said
    assert data.counts.tolist() == [1, 1] and data.class_names == whole.class_names and len(data.test) == 2
    write_lists(own, {part: [line for line in lines if line[0] not in (cut, gone)] for part, lines in parts.items()})
    assert data.train.images.equal(load(f"list:{own}", size=16).train.images)
    (own / PLACES["test"][1][0]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 damaged file is left out: .*00000001.jpg \(.*no test image of label 1 is"):
        load(f"list:{own}", size=16, skip_damaged=True)


def test_training_from_lists(own, runs_dir, quick):
    data = load(f"list:{own}", size=16, stream=True)
    run = dq.fit("dqroute", data, epochs=1, runs_dir=runs_dir, **quick)
    report = dq.evaluate(run, device="cpu")
    assert (
        report.images == 2 and "val" in run.epochs[0] and dq.Run(run.folder).settings["class_names"][0] == "a/airfield"
    )


@pytest.mark.slow
def test_as_many_classes_as_inaturalist_has(tmp_path, runs_dir, quick):
    """8,142 classes of one or two training images and one test image; a picture each of a few, by links."""
    classes, pictures = 8142, [tmp_path / f"{index}.png" for index in range(3)]
    for index, file in enumerate(pictures):
        save_picture(file, 8, 8, index)
    parts = {
        "train": [(f"train/{c}-{i}.png", c) for c in range(classes) for i in range(1 + (c < 1000))],
        "test": [(f"test/{c}-9.png", c) for c in range(classes)],
    }
    for part, lines in parts.items():
        (tmp_path / part).mkdir()
        for name, label in lines:
            os.symlink(pictures[label % 3], tmp_path / name)
    data = load(f"list:{write_lists(tmp_path, parts)}")
    assert data.num_classes == classes and data.groups.rule == "thirds"
    assert data.counts.tolist() == [2] * 1000 + [1] * (classes - 1000)
    run = dq.fit("dqroute", data, epochs=1, runs_dir=runs_dir, **quick | {"batch_size": 512})
    report = dq.evaluate(run, device="cpu")
    assert report.images == classes == len(report.per_class) and len(report.detectors) == 2


def test_deep_pictures_are_said(tmp_path, capsys):
    for seed, name in enumerate(("a", "b", "c", "d")):
        pixels = picture(8, 8, seed)[:, :, 0]
        Image.fromarray(pixels.astype("uint16") * 16 if name in "ab" else pixels).save(tmp_path / f"{name}.png")
    write_lists(tmp_path, {"train": [("a.png", 0), ("c.png", 1)], "test": [("b.png", 0), ("d.png", 1)]})
    load(f"list:{tmp_path}")
    assert "2 of the pictures have more than 8 bits" in capsys.readouterr().out


def test_lists_of_pictures_of_many_sizes_stay_in_their_files_as_folders_do(own, capsys):
    save_picture(own / PLACES["train"][0][0], 30, 30, 1, format="JPEG")
    data = load(f"list:{own}")
    assert isinstance(data.train, FileSplit) and data.shape == (3, 160, 160) and data.identity["stream"]
    assert "the middle square of each is looked at (fit='pad' keeps all)" in capsys.readouterr().out
    assert load(f"list:{own}", fit="pad").train.fit == "pad"
    with pytest.raises(ValueError, match="no squares of one size: .*; pass size="):
        load(f"list:{own}", stream=False)
