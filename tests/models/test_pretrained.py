"""Pretrained weights: every expert starts from the same ones, and others than the network's are refused."""

import hashlib
import json

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import dqroute as dq
from dqroute.models.experts import ExpertNetwork
from dqroute.models.pretrained import identity_of, read_pretrained, start_from
from dqroute.models.trust import KNOWN
from dqroute.sweep.grid import Task
from dqroute.sweep.worker import find
from dqroute.training.request import known_of
from dqroute.training.settings import PRESETS, Settings

NAME = "resnet18-f37072fd.pth"  # what torchvision calls its weights of ResNet-18


@pytest.fixture(scope="module")
def network():
    """A network of torchvision's that has seen a few images, so that its statistics are no defaults."""
    torch.manual_seed(1)
    network = torchvision.models.resnet18()
    network(torch.randn(4, 3, 32, 32))
    return network.eval()


@pytest.fixture
def file(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def hub(network, tmp_path, monkeypatch):
    """torch's store of downloads, with the file that torchvision would fetch in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    place = tmp_path / "hub" / "checkpoints" / NAME
    torch.save(network.state_dict(), place)
    monkeypatch.setitem(KNOWN, NAME, hashlib.sha256(place.read_bytes()).hexdigest())
    return place


@pytest.mark.parametrize("shared_depth", [1, 2, 3, 4])
def test_each_expert_computes_what_torchvisions_network_computes(file, network, shared_depth):
    ours = ExpertNetwork("resnet18", 5, experts=3, shared_depth=shared_depth).eval()
    classifiers = [classify.weight.clone() for classify in ours.classifiers]
    start_from(ours, read_pretrained(str(file), "resnet18", 3))
    images = torch.randn(2, 3, 64, 64)
    wanted = torch.nn.Sequential(*list(network.children())[:-1])(images).flatten(1)
    for features in ours(images).features:
        torch.testing.assert_close(features, wanted, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b.weight) for a, b in zip(classifiers, ours.classifiers, strict=True))


@pytest.mark.parametrize("backbone", ["resnet50", "resnext50_32x4d", "resnet152"])
def test_the_large_networks_take_the_weights_of_torchvisions(backbone):
    """By the ends of their names and their shapes; on the meta device, so without their gigabytes."""
    with torch.device("meta"):
        state = torchvision.models.get_model_builder(backbone)().state_dict()
        ours = ExpertNetwork(backbone, 365, experts=2, shared_depth=2)
    given = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    start_from(ours, given)
    for branch in ours.branches:
        own = {**ours.trunk.state_dict(prefix="trunk."), **branch.state_dict(prefix="branch.")}
        assert [t.shape for t in own.values()] == [t.shape for t in given.values()]
        assert [n.rsplit(".", 1)[1] for n in own] == [n.rsplit(".", 1)[1] for n in given]


def test_old_weights_without_counts_of_batches_are_taken(network, tmp_path):
    old = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "old.safetensors")
    ours = ExpertNetwork("resnet18", 5)
    start_from(ours, read_pretrained(str(tmp_path / "old.safetensors"), "resnet18", 3))
    assert torch.equal(ours.state_dict()["branches.0.2.1.bn2.running_var"], network.layer4[1].bn2.running_var)


def test_torchvisions_own_weights_are_taken_from_the_store(hub, network):
    weights = read_pretrained("imagenet", "resnet18", 3)
    assert identity_of("imagenet", "resnet18") == "ResNet18_Weights.IMAGENET1K_V1" and "fc.weight" not in weights
    assert torch.equal(weights["layer4.1.conv2.weight"], network.layer4[1].conv2.weight)


def test_a_download_is_checked_and_holds_tensors_alone(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda url, **given: asked.update(given) or {}
    )
    with pytest.raises(ValueError, match="does not fit resnet18"):
        read_pretrained("imagenet", "resnet18", 3)
    assert asked["check_hash"] and asked["weights_only"]


class Harmful:
    """An object that runs something when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


def test_a_pickle_that_runs_something_is_not_run(hub, capsys):
    torch.save({"conv1.weight": Harmful()}, hub)
    KNOWN[NAME] = hashlib.sha256(hub.read_bytes()).hexdigest()  # as if it had been meant; put back by the fixture
    with pytest.raises(FileNotFoundError, match="put https://.*resnet18.*into .* in place of what is there"):
        read_pretrained("imagenet", "resnet18", 3)
    assert "unpickled" not in capsys.readouterr().out


def test_without_a_network_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(FileNotFoundError, match="weights of resnet18 could not be had .no route.; check the network"):
        read_pretrained("imagenet", "resnet18", 3)


def test_files_out_of_order_are_told(file, network, tmp_path):
    def refused(source, backbone="resnet18", channels=3):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            read_pretrained(str(source), backbone, channels)
        return str(error.value)

    # Eight more blocks of two convolutions: a kernel, and four numbers a channel of the norm behind it.
    assert "does not fit resnet34: 80 of its 216 tensors differ" in refused(file, "resnet34")
    assert "conv1.weight, (64, 3, 7, 7) there and (64, 1, 7, 7) here" in refused(file, channels=1)
    assert "resnet8 is none of them" in refused(file, "resnet8")
    assert "there is no file" in refused(tmp_path / "nowhere.safetensors")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    assert "unpickling may run foreign code" in refused(tmp_path / "weights.pth")
    file.write_bytes(file.read_bytes()[:1000])
    assert "truncated or not a safetensors file" in refused(file) and "fetch or write it again" in refused(file)


def small(tiny, **changes):
    return {"data": tiny, "epochs": 1, "backbone": "resnet18", "batch_size": 256, **changes}


@pytest.fixture(scope="module")
def grey_file(tmp_path_factory):
    """Weights for the one channel of the digits."""
    torch.manual_seed(2)
    network = torchvision.models.resnet18()
    network.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    path = tmp_path_factory.mktemp("weights") / "grey.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_a_run_starts_from_them_and_is_named_after_their_content(grey_file, tiny, runs_dir, quick, tmp_path):
    """Rates of zero: what the run leaves is what it started from."""
    still = quick | small(tiny, lr=0.0, weight_decay=0.0)
    run = dq.fit("cross-entropy", pretrained=grey_file, runs_dir=runs_dir, **still)
    start = read_pretrained(str(grey_file), "resnet18", 1)["layer3.0.conv1.weight"]
    assert torch.equal(run.model.state_dict()["network.branches.0.1.0.conv1.weight"], start)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(grey_file.read_bytes())
    assert dq.fit("cross-entropy", pretrained=str(moved), runs_dir=runs_dir, **still).folder == run.folder
    asked = json.loads((run.folder / "settings.json").read_text())["training"]["pretrained"]
    assert asked.startswith("sha256:") and dq.Run(run.folder).model is not None


def test_weights_that_do_not_fit_leave_no_folder(file, tiny, runs_dir, quick):
    with pytest.raises(ValueError, match="does not fit resnet18"):
        dq.fit("cross-entropy", pretrained=file, runs_dir=runs_dir, **quick | small(tiny))
    assert not runs_dir.exists()


def test_what_says_nothing_is_left_out_of_the_request():
    said = Settings(pretrained="imagenet", trunk_lr=0.1).decisive()
    assert Settings().decisive() == {n: v for n, v in said.items() if n not in ("pretrained", "trunk_lr")}


def test_the_presets_of_the_large_sets_say_what_the_page_says():
    imagenet, places = PRESETS["imagenet-lt"], PRESETS["places-lt"]
    assert (imagenet.backbone, imagenet.epochs, imagenet.batch_size) == ("resnext50_32x4d", 180, 256)
    assert (imagenet.lr, imagenet.schedule, imagenet.pretrained, imagenet.trunk_lr) == (0.1, "cosine", None, 1.0)
    assert (places.backbone, places.epochs, places.batch_size) == ("resnet152", 30, 128)
    assert (places.lr, places.schedule, places.pretrained, places.trunk_lr) == (0.01, "cosine", "imagenet", 0.1)


def test_a_finished_run_is_found_without_its_weights_being_read(grey_file, tiny, runs_dir, quick, monkeypatch):
    """Nor downloaded: their identity is enough. A sweep finds the run by it, too."""
    asked = quick | small(tiny) | {"pretrained": str(grey_file)}
    run = dq.fit("cross-entropy", runs_dir=runs_dir, **asked)
    dq.evaluate(run, device="cpu")
    monkeypatch.setattr("dqroute.models.pretrained.read_pretrained", lambda *_: pytest.fail("the weights were read"))
    assert dq.fit("cross-entropy", runs_dir=runs_dir, **asked).folder == run.folder
    changes = {name: value for name, value in asked.items() if name not in ("data", "device", "progress")}
    task = Task("tiny", "cross-entropy", {}, "cross-entropy", 0, changes, "test")
    assert find(task, known_of(tiny), runs_dir).folder == run.folder


def test_the_name_of_torchvisions_weights_is_known_without_a_download(monkeypatch):
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: pytest.fail("downloaded"))
    assert identity_of("imagenet", "resnet152") == "ResNet152_Weights.IMAGENET1K_V1"
