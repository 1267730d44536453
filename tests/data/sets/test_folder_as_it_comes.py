"""Folders as people have them: no split, deeper folders, bursts, copies, other files."""

import os
import shutil
import socket
import unicodedata
import warnings
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image

import dqroute as dq
from dqroute.data import FileSplit, load
from dqroute.data.files.copies import copies, with_copies
from dqroute.data.files.cropping import random_crop
from dqroute.data.files.together import together_by
from dqroute.runs.classify import pictures_of


def save(path: Path, number: int, **options) -> None:
    """A picture that no other is like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(path, **options)


@pytest.fixture
def classes(tmp_path):
    """Class folders alone: 10, 5, 2 and 1 pictures."""
    for c, (name, count) in enumerate({"ant": 10, "bee é": 5, "cat": 2, "dog": 1}.items()):
        for i in range(count):
            save(tmp_path / "pets" / name / f"IMG {i}.png", 100 * c + i)
    return tmp_path / "pets"


def test_class_folders_alone_are_divided(classes):
    data = load(f"folder:{classes}", size=8)
    assert data.class_names == ("ant", "bee é", "cat", "dog")
    assert data.counts.tolist() == [8, 4, 1, 1] and data.test.labels.bincount(minlength=4).tolist() == [2, 1, 1, 0]
    assert any("4 of 18 pictures are held out as test" in note for note in data.notes)
    assert any("'dog'" in note for note in data.notes)
    again, other = load(f"folder:{classes}", size=8), load(f"folder:{classes}", size=8, seed=1)
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()
    half = load(f"folder:{classes}", size=8, test=0.5)
    assert half.test.labels.bincount(minlength=4).tolist() == [5, 2, 1, 0]
    assert half.identity != data.identity


def test_a_class_of_one_image_trains_and_is_judged_by_nobody(classes, runs_dir):
    data = load(f"folder:{classes}", backbone="gradient-histograms", val=0.2)
    run = dq.fit("dqroute", data, runs_dir=runs_dir, epochs=3, progress=False, device="cpu")
    report = dq.evaluate(run)
    assert report.per_class[3] is None and run.provenance["not_judged"] >= 1


def test_a_class_may_be_called_train(classes, capsys):
    """Among classes; alone, or with classes in it, it is a part."""
    (classes / "ant").rename(classes / "Train"), (classes / "cat").rename(classes / "test")
    data = load(classes, size=8)
    assert data.class_names == ("Train", "bee é", "dog", "test") and len(data.train) + len(data.test) == 18
    assert "'Train', 'test', without class folders, are taken for classes" in capsys.readouterr().out
    shutil.rmtree(classes / "bee é"), shutil.rmtree(classes / "dog")
    with pytest.raises(ValueError, match=r"Train has no class folder; expected Train/<class>"):
        load(classes, size=8)


@pytest.mark.parametrize(("train", "val", "test"), [("Train", "VALID", "Test"), ("training", "validation", "testing")])
def test_parts_in_any_capitals(classes, tmp_path, train, val, test):
    for part in (train, val, test):
        shutil.copytree(classes, tmp_path / "split" / part)
    with pytest.warns(UserWarning, match="18 pictures are both in train and val and test, by content"):
        data = load(f"folder:{tmp_path / 'split'}", size=8)
    assert len(data.train) == len(data.val) == len(data.test) == 18


def test_a_val_folder_alone_is_tested_on(classes, tmp_path):
    classes.rename(tmp_path / "split" / "train") if (tmp_path / "split").mkdir() is None else None
    for c, name in enumerate(("ant", "bee é", "cat", "dog")):
        save(tmp_path / "split" / "val" / name / "new.png", 900 + c)
    data = load(f"folder:{tmp_path / 'split'}", size=8)
    assert len(data.test) == 4 and data.val is None
    assert any("val folder is what is tested on" in note for note in data.notes)
    with pytest.raises(ValueError, match="has test images of its own; leave test=0.3 out"):
        load(f"folder:{tmp_path / 'split'}", size=8, test=0.3)


def test_deeper_folders_are_taken_in_and_other_files_counted(classes):
    save(classes / "ant" / "summer" / "morning" / "1.png", 1000)
    for junk in ("Thumbs.db", ".DS_Store", "README.txt"):
        (classes / junk).write_text("no picture")
    (classes / "cat" / "notes.txt").write_text("no picture")
    (classes / "cat" / "again").symlink_to(classes / "cat", target_is_directory=True)
    data = load(f"folder:{classes}", size=8)
    assert len(data.train) + len(data.test) == 19
    assert any("1 picture lies deeper" in note for note in data.notes)
    assert any("3 files that are no pictures" in note and "2 .txt" in note and "1 .db" in note for note in data.notes)


def test_pictures_of_kinds_that_are_not_read_are_said(classes):
    (classes / "ant" / "IMG.CR2").write_bytes(b"raw")
    with pytest.warns(UserWarning, match=r"pets: files of kinds that are not read here are left out: 1 \.cr2"):
        load(f"folder:{classes}", size=8)


def test_copies_are_named_before_training(classes):
    shutil.copy(classes / "ant" / "IMG 0.png", classes / "cat" / "copy.png")
    with pytest.warns(UserWarning, match=r"1 picture stands in several classes \(ant, cat\): .*cat/copy.png"):
        load(f"folder:{classes}", size=8)
    assert copies(classes, ["ant/IMG 0.png", "cat/copy.png", "ant/IMG 1.png"]) == [[0, 1]]


def test_bursts_stay_together(tmp_path):
    for c, name in enumerate(("ant", "bee")):
        for place in range(6):
            for frame in range(4):
                save(tmp_path / "b" / name / f"cam{place}_{frame}.png", 1000 * c + 10 * place + frame)
    data = load(f"folder:{tmp_path / 'b'}", stream=True, size=8, group_by=r"\w+/cam\d+", val=0.25)
    places = {part: {name.split("_")[0] for name in split.names} for part, split in data.splits.items()}
    assert not (places["train"] & places["test"] or places["train"] & places["val"] or places["val"] & places["test"])
    assert len(data.together) == len(data.train)
    by_group = [data.train.labels[data.together == group].unique() for group in data.together.unique()]
    assert all(len(labels) == 1 for labels in by_group)
    seen = dq.data.features(data, "gradient-histograms", progress=False)
    assert seen.together.equal(data.together)
    # What is held out knows its bursts too, by the same numbers.
    for part in ("train", "test", "val"):
        ids = seen.together_in(part).tolist()
        names = [name.split("_")[0] for name in data.splits[part].names]
        assert len(set(zip(ids, names, strict=True))) == len(set(ids)) == len(set(names))
    assert len(seen.together_in("train", "test", "val").unique()) == 12
    # A camera that both classes have stays on one side too.
    cameras = load(f"folder:{tmp_path / 'b'}", stream=True, size=8, group_by=r"cam\d+")
    sides = [{name.split("/")[1].split("_")[0] for name in split.names} for split in (cameras.train, cameras.test)]
    assert not sides[0] & sides[1] and sides[1]
    with pytest.raises(ValueError, match="matches no part of the path of any picture, such as 'ant/cam0_0.png'$"):
        load(f"folder:{tmp_path / 'b'}", size=8, group_by="place")
    with pytest.raises(ValueError, match="is no regular expression"):
        load(f"folder:{tmp_path / 'b'}", size=8, group_by="(")
    with pytest.raises(ValueError, match="with group_by, val is a share"):
        load(f"folder:{tmp_path / 'b'}", size=8, group_by=r"cam\d", val=3)


def test_a_pattern_that_matches_few_many_or_all_alike_is_said(tmp_path, capsys):
    """What it does not match stands alone: ``|.*`` at its end would match first, and set every picture apart."""
    names = [f"{of}/{kind}.png" for of in ("ant", "bee") for kind in ("cam1_a", "cam1_b", "cam2_a", "cam2_b", "other")]
    for i, name in enumerate(names):
        save(tmp_path / "b" / name, i)
    data = load(tmp_path / "b", size=8, stream=True, test=0.4, group_by=r"\w+/cam\d")
    assert len(data.together_in("train", "test").unique()) == 4 + 2
    said = r"group_by='\\w+/cam\\d' matches no part of the path of 2 of 10 pictures, which are taken to stand alone: "
    assert said + "'ant/other.png', 'bee/other.png'" in capsys.readouterr().out
    # A group that takes no part in a match names nothing either.
    notes = []
    assert len({*together_by(r"cam1(_a)?", tmp_path / "b", names, notes)}) == 9 and notes
    for pattern, what in (
        ("png", "all 10 pictures: bursts have to differ"),
        (r"\d*", "any picture, such as 'ant/cam1_a.png'$"),
    ):
        with pytest.raises(ValueError, match=what):
            load(tmp_path / "b", size=8, group_by=pattern)
    with pytest.raises(ValueError, match="any picture, .*; seconds between two pictures are a number, 60$"):
        load(tmp_path / "b", size=8, group_by="60")
    with pytest.raises(ValueError, match=r"belongs together \(2 groups of 10 pictures: group bursts, not cameras"):
        load(tmp_path / "b", size=8, group_by="^[^/]+")


def test_a_pattern_of_one_group_and_strays_is_refused_and_one_of_most_pictures_warned_of(tmp_path):
    """Twelve files of 832 that did not match "cam" let 820 pass as one group, and 2 were tested on."""
    for i in range(20):
        save(tmp_path / "b" / ("ant", "bee")[i % 2] / (f"cam{i // 14}_{i}.png" if i < 18 else f"{i}.png"), i)
    with pytest.raises(ValueError, match="group_by='cam' makes one group of 18 of 20 pictures: bursts have to differ"):
        load(tmp_path / "b", size=8, group_by="cam")
    with pytest.warns(UserWarning, match="14 of 20 pictures are one group, 'cam0', which is never divided; group by"):
        load(tmp_path / "b", size=8, group_by=r"cam\d")


def test_no_groups_are_asked_for_by_false_and_what_may_mean_it_is_refused(classes):
    assert load(classes, size=8, group_by=False).identity == load(classes, size=8).identity
    for given in (True, 0, "", 0.0):
        with pytest.raises(ValueError, match=f"a number of seconds above 0, or False for no groups; got {given!r}$"):
            load(classes, size=8, group_by=given)


@pytest.mark.parametrize(
    "wrong", [{"group_by": "*_burst*"}, {"group_by": -1}, {"fit": "cut"}, {"size": 0}, {"test": 5}], ids=str
)
def test_wrong_settings_are_refused_before_a_file_is_opened(classes, monkeypatch, wrong):
    def opened(*_, **__):
        raise AssertionError("a file was looked at")

    for look in ("copies", "damaged", "as_squares"):
        monkeypatch.setattr(f"dqroute.data.files.dividing.{look}", opened)
    for options in ({}, {"skip_damaged": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            load(classes, **options | wrong)


def test_a_class_folder_alone_and_one_of_places_are_told(classes, monkeypatch, capsys):
    with pytest.raises(
        ValueError, match=r"expected ant/<class>/\*; 10 pictures lie in it itself: load .*pets, if ant is"
    ):
        load(classes / "ant")
    with pytest.raises(ValueError, match=r"pets/dog has .*expected dog/<class>/\*; 1 picture lies in it itself: load"):
        load(f"folder:{classes / 'dog'}/.")
    load(classes, size=8)
    assert "pets: 4 classes, 'ant', 'bee é', 'cat', 'dog'\n" in capsys.readouterr().out
    # By its own name, however the path to it is written.
    (classes / "ant" / "IMG.CR2").write_bytes(b"raw")
    for place, path in (("", "."), ("ant", "..")):
        monkeypatch.chdir(classes / place)
        with pytest.warns(UserWarning, match=r"^pets: files of kinds"):
            load(path, size=8)
    with pytest.warns(UserWarning, match=r"^pets: files of kinds"):
        assert len(pictures_of("..")) == 18 and not pictures_of("..")[0].is_absolute()
    assert len(pictures_of(".")) == 10  # none was found


def test_a_folder_of_one_class_is_named_with_the_likely_cause(classes):
    for name in ("bee é", "cat", "dog"):
        shutil.rmtree(classes / name)
    with pytest.raises(
        ValueError, match="one class, 'ant': .*pets must hold a folder for each, and is a level too deep or"
    ):
        load(classes, size=8)


def test_groups_on_both_sides_of_a_given_split_are_said(tmp_path):
    for number, part in enumerate(("train", "test")):
        for i in range(3):
            for c, name in enumerate(("ant", "bee")):
                save(tmp_path / "b" / part / name / f"cam{i}_{part}.png", 100 * c + 10 * number + i)
    with pytest.warns(UserWarning, match="3 groups by group_by= are in train and in test"):
        load(f"folder:{tmp_path / 'b'}", size=8, group_by=r"cam\d")


def test_photographs_taken_within_seconds_belong_together(tmp_path):
    for i, second in enumerate((0, 2, 3, 50, 52)):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"2026:05:01 10:00:{second:02}"
        save(tmp_path / f"{i}.jpg", i, exif=exif)
    save(tmp_path / "5.jpg", 5)
    names = [f"{i}.jpg" for i in range(6)]
    notes = []
    called = ["2026-05-01 10:00:00"] * 3 + ["2026-05-01 10:00:50"] * 2 + ["5.jpg"]
    assert together_by(5.0, tmp_path, names, notes) == called
    few = "1 of 6 pictures, which are taken to stand alone: '5.jpg'"
    assert notes == [f"group_by=5.0 finds no time in the EXIF of {few}"]
    with pytest.raises(ValueError, match="group_by=5 finds no time in the EXIF of any picture, such as '5.jpg'"):
        together_by(5, tmp_path, ["5.jpg"], notes)
    with pytest.raises(ValueError, match="group_by=500 makes one group of all 5 pictures: .* or a few seconds"):
        together_by(500, tmp_path, names[:5], notes)


def test_a_val_folder_is_not_thrown_away(tmp_path):
    for number, part in enumerate(("train", "val", "test")):
        for i in range(8):
            save(tmp_path / "b" / part / ("ant", "bee")[i % 2] / f"{part}{i}.png", 100 * number + i)
    with pytest.raises(ValueError, match="has validation images of its own; leave val=0.3 out"):
        load(f"folder:{tmp_path / 'b'}", size=8, group_by=r"\w+\.png", val=0.3)


def test_pictures_outside_of_class_folders_are_said(classes):
    save(classes / "stray.png", 5000)
    assert any("1 picture lies in no class's folder" in note for note in load(f"folder:{classes}", size=8).notes)


def test_long_pictures_are_kept_whole_and_classified_as_they_were_learned(tmp_path, runs_dir):
    """What tells the classes apart is at an edge of pictures eight times as wide as high."""
    for i in range(40):
        wide = Image.new("RGB", (128, 16), (90 + i, 90, 90))
        wide.paste((255 if i % 2 else 0, 0, 0 if i % 2 else 255), (0, 0, 16, 16))
        place = tmp_path / "edge" / ("red" if i % 2 else "blue") / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        wide.save(place)
    data = load(tmp_path / "edge")
    assert data.train.fit == "stretch" and data.identity["fit"] == "stretch"
    assert any("a centred square would lose 88 %" in note for note in data.notes)
    run = dq.fit("logit-adjustment", data, runs_dir=runs_dir, progress=False, device="cpu")
    table = dq.classify(dq.Run(run.folder), tmp_path / "edge", device="cpu")
    assert (table["class"] == [Path(file).parent.name for file in table["file"]]).mean() > 0.95
    cropped = load(tmp_path / "edge", fit="crop")
    assert "fit" not in cropped.identity and cropped.identity != data.identity
    with pytest.raises(ValueError, match="unknown fit 'cut'"):
        load(tmp_path / "edge", fit="cut")


def test_classes_without_a_picture_are_left_out_and_named(classes, tmp_path, capsys):
    whole = load(classes, size=8).identity
    (classes / "later").mkdir()
    (classes / "notes").mkdir()
    (classes / "notes" / "todo.txt").write_text("no picture")
    (classes / "up").symlink_to("..", target_is_directory=True)
    data = load(classes, size=8)
    assert data.class_names == ("ant", "bee é", "cat", "dog") and data.identity == whole
    assert (
        "classes 'later', 'notes', 'up' have no picture that can be read, and are left out" in capsys.readouterr().out
    )
    for part, name in (("train", "ant"), ("train", "bee é"), ("test", "ant"), ("test", "bee é")):
        save(tmp_path / "split" / part / name / "1.png", hash((part, name)) % 1000)
    (tmp_path / "split" / "test" / "cat").mkdir()
    assert load(tmp_path / "split", size=8).class_names == ("ant", "bee é")
    assert "class 'cat' has no picture" in capsys.readouterr().out
    for name in ("ant", "bee é", "cat"):
        shutil.rmtree(classes / name)
        (classes / name).mkdir()
    with pytest.raises(ValueError, match=r"classes 'ant', .* have no picture .* there must be two classes at least"):
        load(classes, size=8)


@pytest.mark.parametrize("options", [{"size": 8}, {"stream": True, "size": 8}, {"group_by": r"IMG \d"}], ids=str)
def test_damaged_files_are_left_out_if_asked_and_the_set_is_the_one_without_them(classes, options, capsys):
    bad = [classes / "ant" / "IMG 3.png", classes / "bee é" / "IMG 0.png", classes / "dog" / "IMG 0.png"]
    had = load(classes, **options).identity
    for file in bad:
        file.write_bytes(file.read_bytes()[:60])
    capsys.readouterr()
    data = load(classes, skip_damaged=True, **options)
    said = capsys.readouterr().out
    assert "3 damaged files are left out: ant/IMG 3.png (" in said and "dog/IMG 0.png (" in said
    assert "class 'dog' has no picture that can be read, and is left out" in said
    assert data.class_names == ("ant", "bee é", "cat") and len(data.train) + len(data.test) == 15
    for file in bad:
        file.unlink()
    assert had != data.identity == load(classes, **options).identity
    for file in classes.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="15 damaged files are left out: ant/IMG 0.png .*two classes at least"):
        load(classes, skip_damaged=True)


def test_of_many_damaged_files_fifty_are_named(tmp_path, capsys):
    for i in range(60):
        save(tmp_path / "many" / ("ant", "bee")[i % 2] / f"{i}.png", i)
        (tmp_path / "many" / ("ant", "bee")[i % 2] / f"cut {i}.png").write_bytes(b"")
    load(tmp_path / "many", size=8, skip_damaged=True)
    said = capsys.readouterr().out
    assert "60 damaged files are left out: " in said and said.count("cut ") == 50 and "), …" in said


def test_copies_stay_on_one_side_of_every_division(tmp_path, runs_dir):
    """Of 12 pictures a class, each there twice, none is tested on, or judged, by who has learned the other."""
    for i in range(24):
        for copy in "ab":
            save(tmp_path / "twice" / ("ant", "bee")[i % 2] / f"{i}{copy}.png", i)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(tmp_path / "twice", stream=True, size=8, val=0.2)
    sides = [{Path(name).stem[:-1] for name in split.names} for split in data.splits.values()]
    assert [len(side) for side in sides] == [16, 4, 4] and not set.union(*sides[:1]) & set.union(*sides[1:])
    assert "24 pictures are there twice or more: such copies stay together" in data.notes
    for number, name in enumerate(("train/ant/0", "train/ant/1", "train/bee/2", "test/ant/3", "test/bee/4")):
        save(tmp_path / "split" / f"{name}.png", max(number, 1))
    of_split = load(tmp_path / "split", stream=True, size=8).notes
    assert of_split[1] == "1 training picture is there twice or more: such copies stay together"
    seen = dq.data.features(data, "gradient-histograms", progress=False)
    run = dq.fit("logit-adjustment", seen, runs_dir=runs_dir, epochs=2, progress=False, device="cpu")
    fold = dict(zip(data.train.names, run.judged["fold"].tolist(), strict=True))
    assert all(fold[name] == fold[name.replace("a.png", "b.png")] for name in fold)
    # Whole numbers of validation pictures still are what they were.
    assert len(load(tmp_path / "twice", size=8, val=3).val) == 6


def test_copies_make_groups_one():
    assert with_copies(torch.tensor([0, 0, 1, 2, 3, 3]), [[1, 2], [2, 3]]).tolist() == [0, 0, 0, 0, 3, 3]


def test_class_names_that_look_alike_are_named_in_one_warning(tmp_path):
    for number, name in enumerate(("Fox", "fox", "possum", "possum ", "bee é", unicodedata.normalize("NFD", "bee é"))):
        for i in range(2):
            save(tmp_path / "wild" / name / f"{i}.png", 10 * number + i)
    with pytest.warns(UserWarning, match="'Fox' and 'fox', .*'possum' and 'possum ' are classes of their own") as told:
        load(tmp_path / "wild", size=8)
    assert len(told) == 1


def test_a_class_spelled_otherwise_in_another_part_is_recognised(tmp_path):
    for number, name in enumerate(("Train/skunk", "Train/fox", "Test/Skunk", "Test/fox")):
        save(tmp_path / "wild" / name / "1.png", number)
    with pytest.raises(
        ValueError, match=r"'Skunk' .* \(did you mean 'skunk'\? capitals, blanks, zeros or Unicode forms differ"
    ):
        load(tmp_path / "wild", size=8)


def test_where_deeper_folders_look_like_classes_it_is_asked(tmp_path):
    species = ("canids/Red Fox", "canids/grey wolf", "rodents/rat", "rodents/vole")
    for number, name in enumerate((*species, *(f"{name}/2024" for name in species))):
        for i in range(2):
            save(tmp_path / "tax" / name / f"{i}.png", 10 * number + i)
    (note,) = [note for note in load(tmp_path / "tax", size=8).notes if "lie deeper" in note]
    assert "from 'Red Fox', 'grey wolf', 'rat', 'vole'; are those the classes? then move them up" in note
    for name in ("canids/2024", "rodents/2024", "canids/2025", "rodents/2025"):  # the same in each class
        save(tmp_path / "years" / name / "1.png", hash(name) % 1000)
    (note,) = [note for note in load(tmp_path / "years", size=8).notes if "lie deeper" in note]
    assert note.endswith("and are taken in")


@pytest.mark.parametrize("of", [(40, 30), (8, 8)])
def test_what_a_crop_leaves_out_is_said(tmp_path, of):
    for i in range(4):
        place = tmp_path / "wide" / ("ant", "bee")[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", of, (i, 0, 0)).save(place)
    told = [note for note in load(tmp_path / "wide").notes if "the middle square of each is looked at" in note]
    assert told == ["pictures are 40×30: the middle square of each is looked at (fit='pad' keeps all)"] * (
        of == (40, 30)
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_sockets_are_counted_and_never_opened(classes, tmp_path, capsys, monkeypatch):
    """Whoever opens a pipe waits until somebody writes into it."""
    whole = load(classes, size=8).identity
    for place in (classes, classes / "ant", classes / "bee é"):
        os.mkfifo(place / "pipe.png")
    (classes / "ant" / "link.jpg").symlink_to("pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(classes / "dog")  # the name of a socket may not be long
        listener.bind("socket.jpeg")
        capsys.readouterr()
        for options in ({}, {"skip_damaged": True}, {"stream": True}):
            with pytest.warns(UserWarning, match="are left out: 5 not a plain file$"):
                data = load(classes, size=8, **options)
            assert data.identity == whole | ({"stream": True} if "stream" in options else {})
            assert "5 files that are no pictures are left out (5 not a plain file)" in capsys.readouterr().out
        with pytest.warns(UserWarning, match="are left out: 2 not a plain file$"):
            assert len(pictures_of(classes / "ant")) == 10
    pipes = [classes / "ant" / "pipe.png", classes / "bee é" / "pipe.png"]
    assert copies(classes, ["ant/pipe.png", "bee é/pipe.png"]) == []
    with pytest.raises(ValueError, match=r"pipe.png \(not a plain file\)"):
        dq.read_images(pipes, 8)
    split = FileSplit(classes, ["ant/IMG 0.png", "ant/pipe.png"], torch.tensor([0, 1]), 8)
    assert [name for name, _ in split.look(lambda _: True)] == ["ant/pipe.png"]
    with pytest.raises(OSError, match="not a plain file"):
        random_crop(pipes[0], 8, dq.data.ResizedCrop(), Random(0))
    (tmp_path / "list.csv").write_text(
        "path,label\n" + "".join(f"pets/ant/IMG {i}.png,{'ab'[i % 2]}\n" for i in range(10)) + "pets/ant/pipe.png,a\n"
    )
    with pytest.raises(FileNotFoundError, match=r"1 of 11 files are missing .* \(not a plain file\)"):
        load(tmp_path / "list.csv", size=8)
    assert len(load(tmp_path / "list.csv", size=8, skip_damaged=True, test=0).train) == 10
