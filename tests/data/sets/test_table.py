"""Tables of pictures, as spreadsheets write them."""

import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from dqroute.data import load


@pytest.fixture
def pictures(tmp_path):
    """Five pictures each of an oak and an ash, in a folder beside the table."""
    (tmp_path / "pictures").mkdir()
    for i in range(10):
        pixels = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path


def rows(slash="/", label=("oak", "ash é")):
    return [(f"pictures{slash}{i}.png", label[i % 2], f"cam{i // 2}") for i in range(10)]


def write(place, lines, head="path,label,group", separator=",", encoding="utf-8", name="table.csv"):
    text = "\r\n".join([head.replace(",", separator), *(separator.join(line) for line in lines)])
    (place / name).write_bytes(text.encode(encoding))
    return place / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(pictures, encoding, separator):
    lines = [line[:2] for line in rows("\\")]
    file = write(pictures, lines, "Path,Label", separator, encoding)
    data = load(f"table:{file}", size=8)
    assert data.class_names == ("ash é", "oak") and data.name == "table"
    assert len(data.train) == 8 and len(data.test) == 2


def test_what_excel_adds_is_passed_over(pictures):
    """A first line that tells the separator, and rows in which nothing stands."""
    whole = load(write(pictures, rows(), separator=";"), size=8)
    file = write(pictures, [*rows(), ("", "", ""), (" ", "", "cam3")], separator=";")
    assert load(file, size=8).identity == whole.identity
    plain = file.read_bytes()
    for above in ("sep=;\r\n", "\r\n", ";;;\r\n", "\r\n\r\nsep=;\r\n", ' \n"sep=;"\n;;\n', "\ufeff\nsep=;;;\n\n"):
        file.write_bytes(above.encode() + plain)
        assert load(file, size=8).identity == whole.identity, above
    file.write_bytes(f"\r\nsep=;\r\n{plain.decode()}".encode("utf-16"))
    assert load(file, size=8).identity == whole.identity
    file = write(pictures, [*rows(), ("", "", ""), ("pictures/0.png", "", "cam3")])
    with pytest.raises(ValueError, match="no label in row 13; add it"):
        load(file, size=8)


def test_of_two_columns_of_one_name_it_is_asked_which_to_take(pictures):
    lines = [(path, label, "oak") for path, label, _ in rows()]
    for head, both in (("path,label,label", "'label', 'label.1'"), ("path,Label,label", "'Label', 'label'")):
        file = write(pictures, lines, head)
        with pytest.raises(ValueError, match=rf'has {both}; say which to take: columns={{"label": …}}'):
            load(file, size=8)
    assert load(file, size=8, columns={"label": "Label"}).class_names == ("ash é", "oak")


def test_paths_in_other_capitals_or_unicode_forms_find_their_files(pictures, capsys):
    """A Mac writes "ä" in two signs; Windows takes ``IMG.JPG`` for ``img.jpg``."""
    folder = unicodedata.normalize("NFD", "Bäume 2")
    (pictures / "pictures").rename(pictures / folder)
    lines = [(path.replace("pictures", "bäume 2").replace(".png", ".PNG"), label) for path, label, _ in rows()]
    data = load(write(pictures, lines, "path,label"), size=8)
    assert "10 paths are spelled otherwise than their files are" in capsys.readouterr().out
    same = load(write(pictures, [(f"{folder}/{i}.png", lines[i][1]) for i in range(10)], "path,label"), size=8)
    assert data.identity == same.identity and "otherwise" not in capsys.readouterr().out
    (pictures / folder / "0.Png").write_bytes((pictures / folder / "1.png").read_bytes())  # which is meant?
    with pytest.raises(FileNotFoundError, match="1 of 10 files are missing"):
        load(write(pictures, lines, "path,label"), size=8)
    with pytest.raises(FileNotFoundError, match=r"1 of 10 files are missing .*2\.png"):
        load(write(pictures, [*lines[1:], (f"{folder}/1.png/2.png", "oak")], "path,label"), size=8)


def test_numbers_that_a_spreadsheet_may_have_rewritten_are_named(pictures):
    lines = [(path, ("01", "1", "1.0", "10")[i % 4]) for i, (path, *_) in enumerate(rows())]
    with pytest.warns(UserWarning, match="'1' and '01' and '1.0' are classes of their own") as told:
        load(write(pictures, lines, "path,label"), size=8)
    assert "'10'" not in str(told[0].message)


def test_a_path_alone_is_taken_for_the_table_that_it_is(pictures, capsys):
    file = write(pictures, rows())
    assert load(file, size=8).identity == load(f"table:{file}", size=8).identity
    assert f"is taken for 'table:{file}'" in capsys.readouterr().out
    assert "are held out as test" in (load(file, size=8), capsys.readouterr().out)[1]


def test_groups_of_a_column_stay_together(pictures):
    file = write(pictures, [(f"pictures/{i}.png", "oak" if i < 6 else "ash", f"cam{i // 2}") for i in range(10)])
    data = load(f"table:{file}", size=8, stream=True, test=0.4)
    sides = [{int(name.split("/")[-1].removesuffix(".png")) // 2 for name in s.names} for s in (data.train, data.test)]
    assert not sides[0] & sides[1] and sides[1] and len(data.together) == len(data.train)
    assert [int(name.split("/")[-1].removesuffix(".png")) // 2 for name in data.test.names] == [
        int(group) for group in data.together_in("test")
    ]


def test_which_column_was_taken_for_groups_is_said_and_another_may_be_named(pictures, capsys):
    lines = [(path, label, group, str(i % 5)) for i, (path, label, group) in enumerate(rows())]
    file = write(pictures, lines, "path,label,Camera,Seq No")
    of_camera, said = load(file, size=8).together, capsys.readouterr().out
    assert len(of_camera.unique()) == 4
    assert (
        "table: the column 'Camera' says which pictures belong together; group_by= names another, and False none"
        in said
    )
    data = load(file, size=8, group_by="Seq No", stream=True)
    assert "the column 'Seq No' says" in capsys.readouterr().out
    sides = [{int(Path(name).stem) % 5 for name in split.names} for split in (data.train, data.test)]
    assert not sides[0] & sides[1]
    assert load(file, size=8, columns={"group": "Seq No"}).identity == load(file, size=8, group_by="Seq No").identity
    # A pattern wins over a column that nobody named.
    assert len(load(file, size=8, group_by=r"\d").together) == 8
    with pytest.raises(ValueError, match="both say what belongs together"):
        load(file, group_by=r"\d", columns={"group": "Seq No"})


@pytest.mark.parametrize("drive", ["C:\\Data\\traps\\", "\\\\server\\share\\", "/media/field/traps/", "D:/"])
def test_paths_of_another_machine_are_found_below_the_folder(pictures, drive, tmp_path_factory):
    lines = [(drive + path.replace("/", "\\" if "\\" in drive else "/"), label) for path, label, _ in rows()]
    beside = load(write(pictures, lines, "path,label"), size=8)
    assert len(beside.train) + len(beside.test) == 10
    file = write(tmp_path_factory.mktemp("elsewhere"), lines, "path,label")
    assert load("table", root=file, images=pictures / "pictures", size=8).identity["rows"] == beside.identity["rows"]
    with pytest.raises(
        FileNotFoundError, match=r"10 of 10 files are missing .*: (\S+ \(No such.*?\), ){5}…; .* give images="
    ):
        load(file, size=8)


def test_a_picture_without_a_group_stands_alone(pictures):
    file = write(pictures, [(path, label, group * (i < 2)) for i, (path, label, group) in enumerate(rows())])
    data = load(f"table:{file}", size=8)
    assert len(data.test) == 2 and len(data.together.unique()) >= 7


def test_tables_that_differ_in_the_split_alone_are_other_sets(pictures):
    def split(last):
        lines = [(path, label, "train" if i < last else "test") for i, (path, label, _) in enumerate(rows())]
        return load(f"table:{write(pictures, lines, 'path,label,split')}", size=8)

    assert split(5).identity != split(6).identity
    file = write(pictures, [line[:2] for line in rows()], "path,label")
    assert load(file, size=8).identity == load(file, size=8, test=0.2).identity


def test_the_table_may_say_the_split_and_call_its_columns_otherwise(pictures):
    lines = [(str(pictures / path), label, "Train" if i < 6 else "valid" if i < 8 else "TEST")
             for i, (path, label, _) in enumerate(rows())]  # fmt: skip
    file = write(pictures, lines, "Datei,Art,split")
    asked = {"columns": {"path": "Datei", "label": "Art"}, "size": 8}
    data = load(f"table:{file}", **asked)
    assert [len(split) for split in (data.train, data.val, data.test)] == [6, 2, 2]
    with pytest.raises(ValueError, match="has no column 'path'; it has 'Datei', 'Art', 'split': name the one"):
        load(f"table:{file}")
    with pytest.raises(ValueError, match="unknown column of table.csv 'Dateien' .*did you mean 'Datei'"):
        load(f"table:{file}", columns={"path": "Dateien", "label": "Art"})
    with pytest.raises(ValueError, match="has test images of its own; leave test=0.3 out"):
        load(f"table:{file}", test=0.3, **asked)


def test_parquet_is_read_or_the_way_on_is_named(pictures):
    pd = pytest.importorskip("pandas")
    file = pictures / "table.parquet"
    try:
        pd.DataFrame(rows(), columns=["path", "label", "group"]).to_parquet(file)
    except ImportError:
        file.write_bytes(b"PAR1")
        with pytest.raises(ValueError, match="write it as CSV"):
            load(f"table:{file}")
    else:
        assert len(load(f"table:{file}", size=8).train) == 8


@pytest.mark.parametrize(
    ("lines", "head", "said"),
    [
        ([("pictures/0.png", "")], "path,label", "has no label in row 2; add it"),
        ([], "path,label", "has no row below its head"),
        ([("pictures/0.png", "oak"), ("pictures/0.png", "ash")], "path,label", "calls 'pictures/0.png'|calls '0.png'"),
        (
            [("pictures/0.png", "oak", "train"), ("pictures/0.png", "oak", "test"), ("pictures/1.png", "ash", "test")],
            "path,label,split",
            "0.png' 'train' and 'test'; a picture has one split here",
        ),
        ([("pictures/0.png", "oak", "held")], "path,label,split", "has the split 'held' for"),
        ([("pictures/99.png", "oak"), *rows()], "path,label,group", "99.png.* give images= the folder"),
        (rows()[:2], "path,label,group", "no picture can be held out as test: each class has one alone.*test=0 trains"),
        ([("1.png", "oak", "train"), ("2.png", "Oak ", "test")], "path,label,split", "did you mean 'oak'"),
        ([("pictures/0.png", "oak", "test"), ("pictures/1.png", "ash", "train")], "path,label,split", "class 'oak'"),
    ],
)
def test_rows_that_make_no_sense_are_named(pictures, lines, head, said):
    file = write(pictures, lines, head)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load(f"table:{file}", size=8)


@pytest.mark.parametrize("columns", [["path", "label"], "path", {"path"}, 3], ids=repr)
def test_columns_that_are_no_dictionary_are_refused_with_an_example(pictures, columns):
    with pytest.raises(ValueError, match=r"columns is a dictionary, such as \{'path': 'Datei', 'label': 'Art'\}; got"):
        load(write(pictures, rows()), columns=columns)


def test_the_folder_of_the_pictures_given_as_root_is_told_to_be_images(pictures):
    file = write(pictures, rows())
    with pytest.raises(
        ValueError, match="names its file; give the folder that its paths start from as images='pictures'"
    ):
        load(f"table:{file}", root=Path("pictures"))


def test_a_column_that_tells_nothing_apart_is_named_or_passed_over(pictures, capsys):
    file = write(pictures, [(path, "oak", "yard") for path, *_ in rows()])
    with pytest.raises(ValueError, match="one class, 'oak': the column 'label' says so; columns=.* names another"):
        load(file, size=8)
    file = write(pictures, [(path, label, "yard") for path, label, _ in rows()])
    assert load(file, size=8).together is None and "belong together" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"\(1 group of 10 pictures: group bursts"):
        load(file, size=8, group_by="group")


def test_a_column_of_groups_is_switched_off_by_false_and_a_misspelt_one_told(pictures, capsys):
    file = write(pictures, rows())
    data, said = load(file, size=8, group_by=False), capsys.readouterr().out
    assert data.together is None and "groups" not in said.replace(str(file), "")
    with pytest.raises(ValueError, match=r"or False for no groups; got ''"):
        load(file, size=8, group_by="")
    with pytest.raises(ValueError, match=r"any picture, .*; and no column is called so \(did you mean 'group'\?\)"):
        load(file, size=8, group_by="Grop")


def test_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no table"):
        load(f"table:{tmp_path / 'gone.csv'}")
    with pytest.raises(ValueError, match="needs a file"):
        load("table:")


def test_rows_of_damaged_and_missing_pictures_are_left_out_if_asked(pictures, capsys):
    file = write(pictures, [*rows(), ("pictures/gone.png", "oak", "cam9"), ("pictures/lost.png", "elm", "cam9")])
    (pictures / "pictures" / "3.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="12 of 12 files are missing .* give images="):
        load(file, size=8, skip_damaged=True, images=pictures / "elsewhere")
    data = load(file, size=8, skip_damaged=True)
    said = capsys.readouterr().out
    assert "3 damaged files are left out: " in said and "gone.png (No such file" in said and "class 'elm'" in said
    assert data.class_names == ("ash é", "oak") and len(data.train) + len(data.test) == 9
