"""Lists of `path label`: what is read, and that nothing but a clear error comes of anything else."""

import gzip

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dqroute.data.sets.lists import read_list


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    listing = read_list(path)
    return list(zip(listing.names, listing.labels.tolist(), strict=True))


def test_plain_and_gzipped_lists(tmp_path):
    text = "data_256/a/airfield/1.jpg 0\nval/b.JPEG 12\n"
    wanted = [("data_256/a/airfield/1.jpg", 0), ("val/b.JPEG", 12)]
    assert read(write(tmp_path / "a.txt", text)) == wanted
    assert read(write(tmp_path / "a.txt.gz", gzip.compress(text.encode()))) == wanted


@pytest.mark.parametrize(
    "text",
    ["a b.jpg 0\nc.jpg 1", "a b.jpg 0\r\nc.jpg 1\r\n", "\ufeffa b.jpg\t0\n\n  \nc.jpg   1  \n"],
    ids=["last line without an end", "Windows", "byte order mark, tab, empty lines"],
)
def test_what_editors_and_systems_leave_behind(tmp_path, text):
    assert read(write(tmp_path / "a.txt", text)) == [("a b.jpg", 0), ("c.jpg", 1)]


path_texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1
).filter(
    lambda s: (
        not s.startswith(("/", "\ufeff"))
        and not ("//" in s or "./" in s)  # Such a path is made plain.
        and not s.encode()[-1:].isspace()
        and s.strip()
    )
)


@given(st.lists(st.tuples(path_texts, st.integers(0, 10**9 - 1)), min_size=1, unique_by=lambda line: line[0]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_paths_of_any_script_with_blanks_come_back_as_they_were(tmp_path, lines):
    text = "".join(f"{path} {label}\n" for path, label in lines)
    assert read(write(tmp_path / "a.txt", text)) == lines


@given(st.binary() | st.text(st.sampled_from("ab/. \t\r\n-+0123456789,\0")).map(str.encode), st.booleans())
@example(b"a.jpg " + 5000 * b"9", False)
@example(b"\0" * 50_000, False)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_file_at_all_is_read_or_refused_in_words(tmp_path, content, packed):
    file = write(tmp_path / ("a.txt.gz" if packed else "a.txt"), content)
    try:
        lines = read(file)
    except ValueError as error:
        assert str(file) in str(error) and len(str(error)) < 1000
        return
    assert lines and all(name and label >= 0 for name, label in lines)
    assert len(lines) == len({name for name, _ in lines}) == len([x for x in content.split(b"\n") if x.strip()])


def test_a_damaged_archive_is_named(tmp_path):
    whole = gzip.compress(b"".join(b"%d.jpg 0\n" % index for index in range(1000)))
    for content in (whole[:-9], whole[:40] + b"x" + whole[41:]):
        file = write(tmp_path / "train.txt.gz", content)
        with pytest.raises(ValueError, match=r"cannot read .*train.txt.gz .*fetch or unpack it again"):
            read_list(file)


def test_many_bad_lines_are_counted_and_five_of_them_shown(tmp_path):
    file = write(tmp_path / "a.txt", "".join(f"{index}.jpg,{index}\n" for index in range(2000)) + "good.jpg 0\n")
    with pytest.raises(ValueError, match="2,000 lines, among them line 1 .*line 5 [^6]*are not a path") as error:
        read_list(file)
    assert "line 6" not in str(error.value)


def test_one_file_has_one_name_and_lies_in_the_folder(tmp_path):
    """Else an image could stand in train and, spelled otherwise, in test."""
    list_file = tmp_path / "train.txt"
    list_file.write_text("./a/b.jpg 0\na//c.jpg 1\na/./d/../e.jpg 1\na..jpg 0\n")
    assert list(read_list(list_file).names) == ["a/b.jpg", "a/c.jpg", "a/e.jpg", "a..jpg"]
    list_file.write_text("a.jpg 0\nb/../a.jpg 1\n")
    with pytest.raises(ValueError, match="lists 'a.jpg' in lines 1 and 2"):
        read_list(list_file)
    list_file.write_text("a.jpg 0\nb/../../c.jpg 1\n")
    with pytest.raises(ValueError, match=r"line 2 .*leads out of the images' folder"):
        read_list(list_file)


def test_a_first_line_of_a_byte_order_mark_alone_is_empty(tmp_path):
    (tmp_path / "train.txt").write_text("\ufeff\na.jpg 0\n")
    assert list(read_list(tmp_path / "train.txt").names) == ["a.jpg"]
