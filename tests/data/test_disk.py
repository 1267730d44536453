"""Files are whole or old, and errors name the file and the remedy."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from dqroute.data.disk import (
    check_writable,
    keep,
    read_json,
    read_json_lines,
    read_tensors,
    unwritable,
    write_atomically,
    write_json,
    write_tensors,
)


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_json_comes_back_as_it_went(tmp_path):
    value = {"a": [1, 2.5, None, True], "name": "größer ∞", "nested": {"b": []}}
    write_json(tmp_path / "deep" / "x.json", value)
    assert read_json(tmp_path / "deep" / "x.json") == value


def test_tensors_come_back_as_they_went(tmp_path):
    tensors = {
        "float": torch.randn(3, 4).T,
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "int": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"key": "value"})
    found, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"key": "value"} and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_writing_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_names_file_and_remedy(tmp_path, monkeypatch, where):
    path = tmp_path / "x"
    write_atomically(path, b"old")
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", no_space)
    else:
        monkeypatch.setattr("pathlib.Path.replace", no_space)
    with pytest.raises(OSError, match="another runs_dir") as caught:
        write_atomically(path, b"new and longer")
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC and str(path) in str(caught.value)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    """What a kill at that moment leaves, too: the target is untouched."""
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_file_in_the_place_of_the_folder_is_named_with_the_remedy(tmp_path):
    (tmp_path / "runs").write_text("I am no folder")
    with pytest.raises(OSError, match=r"cannot write .*runs/x \(Not a directory\); choose another runs_dir$"):
        check_writable(tmp_path / "runs" / "x")
    with pytest.raises(OSError, match=r"exists\); choose another runs_dir") as caught:
        write_json(tmp_path / "runs" / "x.json", {})
    assert str(tmp_path / "runs" / "x.json") in str(caught.value)
    assert (tmp_path / "runs").read_text() == "I am no folder"


def test_whether_a_folder_can_be_written_is_found_without_a_trace(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "yet")
    monkeypatch.chdir(tmp_path)
    check_writable(Path("runs"))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("number", "space"), [(errno.ENOSPC, True), (errno.EACCES, False), (errno.EROFS, False)])
def test_space_is_asked_for_where_there_is_none(number, space):
    said = str(unwritable(Path("runs"), OSError(number, os.strerror(number))))
    assert ("free some space" in said) == space and said.endswith("choose another runs_dir")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00"], ids=["empty", "cut", "binary"])
def test_broken_json_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json is not readable JSON.*train it again"):
        read_json(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_tensors_are_named_with_the_remedy(tmp_path, share):
    path = tmp_path / "cut.safetensors"
    write_tensors(path, {"a": torch.zeros(1000)}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.safetensors is truncated or not a safetensors file.*train it again"):
        read_tensors(path)


def test_metadata_may_be_missing_or_null(tmp_path):
    """Both are sound by the format; files from elsewhere have either."""
    for name, header in {"missing": b"{}", "null": b'{"__metadata__":null}'}.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert read_tensors(path) == ({}, {})


def test_a_pickle_is_refused_not_loaded(tmp_path):
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_tensors(path)


def test_a_folder_that_cannot_be_synchronised_costs_no_file(tmp_path, monkeypatch):
    """As some network file systems answer."""
    real = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr("os.fsync", refuse_folders)
    write_json(tmp_path / "a.json", [1])
    assert read_json(tmp_path / "a.json") == [1] and len(list(tmp_path.iterdir())) == 1


def test_json_lines_come_back_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n"between\u2028lines"\n', encoding="utf-8")
    assert read_json_lines(path) == [{"a": 1}, "between\u2028lines"]
    path.write_text('{"a": 1}\n{"a"', encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.jsonl, line 2, is not readable JSON.*train it again"):
        read_json_lines(path)


def test_what_can_be_worked_out_again_warns_where_it_cannot_be_kept(tmp_path, monkeypatch):
    keep(tmp_path / "x.json", [1])
    monkeypatch.setattr("pathlib.Path.replace", no_space)
    with pytest.warns(UserWarning, match="not kept, to be worked out again next time: .*x.json"):
        keep(tmp_path / "x.json", [2])
    assert read_json(tmp_path / "x.json") == [1]
