"""Backbones cut into a trunk and branches: published sizes, shapes, and experts that do not touch each other."""

import pytest
import torch

from dqroute.models.backbones import Downsampling, backbone_names, cifar_resnet, torchvision_resnet
from dqroute.models.experts import CosineClassifier, ExpertNetwork


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def by_hand(blocks, widths, channels, classes):
    """Weights of a CIFAR ResNet: 3x3 convolutions without bias, two numbers a normalised channel, a linear layer."""
    total = channels * widths[0] * 9 + 2 * widths[0]
    before = widths[0]
    for width in widths:
        total += before * width * 9 + width * width * 9 + 4 * width
        total += (blocks - 1) * (2 * width * width * 9 + 4 * width)
        before = width
    return total + before * classes + classes


def test_resnet32_has_the_published_size():
    """He et al. (2016): 0.46 M. By hand: 464 stem + 23,360 + 88,192 + 351,488 for the stages + 650 = 464,154."""
    assert parameters(ExpertNetwork("resnet32", 10)) == by_hand(5, (16, 32, 64), 3, 10) == 464_154


@pytest.mark.parametrize(("name", "blocks", "millions"), [("resnet8", 1, 0.08), ("resnet20", 3, 0.27)])
def test_the_smaller_resnets_have_the_published_sizes(name, blocks, millions):
    n = parameters(ExpertNetwork(name, 10))
    assert n == by_hand(blocks, (16, 32, 64), 3, 10)
    assert round(n / 1e6, 2) == millions


def test_three_quarters_of_the_width():
    """The reduced form of RIDE and SADE is 24 and 48 wide."""
    assert parameters(ExpertNetwork("resnet32", 100, branch_width=0.75)) == by_hand(5, (16, 24, 48), 3, 100)
    network = ExpertNetwork("resnet8", 100, branch_width=0.75)
    assert network.features == 48


@pytest.mark.parametrize("experts", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_shapes_and_types(experts, depth, classifier):
    network = ExpertNetwork("resnet8", 7, 1, experts, shared_depth=depth, classifier=classifier)
    out = network(torch.randn(4, 1, 16, 12))
    assert out.logits.shape == (experts, 4, 7)
    assert out.features.shape == (experts, 4, 64) and network.features == 64
    assert {t.dtype for t in out[:2]} == {torch.float32}
    assert network.experts == experts


def test_outputs_stay_in_32_bits_under_autocast():
    network = ExpertNetwork("resnet8", 7, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(torch.randn(4, 1, 8, 8))
    assert {t.dtype for t in out[:2]} == {torch.float32}


def test_an_expert_adds_a_branch_and_a_classifier_and_no_more():
    """Branch after one shared stage, resnet8: stages 2 and 3, and 64·10 + 10."""
    one, three = (parameters(ExpertNetwork("resnet8", 10, experts=k)) for k in (1, 3))
    branch = sum(parameters(stage.make()) for stage in cifar_resnet(8, 3, 1.0)[1:])
    assert three - one == 2 * (branch + 650)


def test_deeper_sharing_means_fewer_parameters():
    shallow, deep = (parameters(ExpertNetwork("resnet8", 10, experts=3, shared_depth=d)) for d in (1, 2))
    second = parameters(cifar_resnet(8, 3, 1.0)[1].make())
    assert shallow - deep == 2 * second


def test_where_all_stages_are_shared_an_expert_is_a_classifier():
    one, three = (ExpertNetwork("resnet8", 10, experts=k, shared_depth=3).eval() for k in (1, 3))
    assert parameters(three) - parameters(one) == 2 * 650
    out = three(torch.randn(4, 3, 16, 16))
    for features, logits, classify in zip(out.features, out.logits, three.classifiers, strict=True):
        torch.testing.assert_close(features, out.features[0])
        torch.testing.assert_close(logits, classify(out.features[0]))


def test_experts_are_independent():
    """Expert 1's logits depend on the trunk and on its own branch, and on no weight of another expert."""
    torch.manual_seed(0)
    network = ExpertNetwork("resnet8", 5, 1, experts=3).eval()
    images = torch.randn(2, 1, 8, 8)
    before = network(images).logits.detach()
    assert not torch.allclose(before[0], before[1])
    with torch.no_grad():
        for p in (*network.branches[1].parameters(), *network.classifiers[1].parameters()):
            p.add_(0.5)
    after = network(images).logits.detach()
    assert torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert not torch.allclose(before[1], after[1])
    network.zero_grad()
    network(images).logits[0].sum().backward()
    others = (*network.branches[1].parameters(), *network.classifiers[2].parameters())
    assert all(p.grad is None or not p.grad.any() for p in others)
    assert next(network.trunk.parameters()).grad.any()


def test_an_image_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    network = ExpertNetwork("resnet8", 5, 1, experts=2).eval()
    images = torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(network(images[2:3]).logits, network(images).logits[:, 2:3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_torchvision_backbone_at_64_pixels(channels):
    """ResNet-18 has 11,689,512 parameters with 3 channels and 1,000 classes (torchvision's own page)."""
    network = ExpertNetwork("resnet18", 1000, channels).eval()
    assert parameters(network) == 11_689_512 - (3 - channels) * 64 * 49
    out = network(torch.randn(2, channels, 64, 64))
    assert out.logits.shape == (1, 2, 1000) and out.features.shape == (1, 2, 512)


def test_a_torchvision_trunk_of_three_stages_and_two_experts():
    network = ExpertNetwork("resnet18", 5, 3, experts=2, shared_depth=3).eval()
    out = network(torch.randn(1, 3, 64, 64))
    assert out.logits.shape == (2, 1, 5)


def test_cosine_logits_stay_within_the_scale_and_ignore_lengths():
    torch.manual_seed(0)
    classify = CosineClassifier(6, 4, scale=30)
    x = torch.randn(50, 6)
    logits = classify(x)
    assert logits.abs().max() <= 30 * (1 + 1e-6)
    torch.testing.assert_close(classify(7 * x), logits, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        classify.weight[1] *= 5
    torch.testing.assert_close(classify(x), logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(classify(classify.weight.detach()).diagonal(), torch.full((4,), 30.0))


def test_an_unknown_backbone_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet23' \(did you mean.*resnet8, resnet20, resnet32"):
        ExpertNetwork("resnet23", 10)
    assert {"resnet8", "resnet20", "resnet32", "resnet18", "resnet50", "resnext50_32x4d"} <= set(backbone_names())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experts": 0}, "experts=0"),
        ({"shared_depth": 0}, "3 stages: shared_depth runs from 1 to 3"),
        ({"shared_depth": 4}, "3 stages: shared_depth runs from 1 to 3"),
        ({"classifier": "quadratic"}, "linear, cosine"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ExpertNetwork("resnet8", 10, **change)


def test_a_width_for_torchvision_is_refused():
    with pytest.raises(ValueError, match="branch_width"):
        ExpertNetwork("resnet18", 10, branch_width=0.75)


def test_a_network_of_torchvisions_is_built_once_and_each_branch_has_weights_of_its_own(monkeypatch):
    import torchvision

    builders, built = torchvision.models.get_model_builder, []

    def counted(name):
        return lambda **kwargs: built.append(name) or builders(name)(**kwargs)

    monkeypatch.setattr(torchvision.models, "get_model_builder", counted)
    network = ExpertNetwork("resnet18", 5, experts=3, shared_depth=1)
    assert built == ["resnet18"]
    first, second, third = ([p for p in b.parameters() if p.ndim == 4] for b in network.branches)
    for a, b, c in zip(first, second, third, strict=True):
        assert not torch.equal(a, b) and not torch.equal(b, c) and a.data_ptr() != b.data_ptr()


@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_kernel_with_a_stride_has_the_gradient_of_exact_arithmetic(side):
    """On a map of one pixel in bfloat16 torch's own was memory that nobody had written, which is filled here."""
    maps, wanted = torch.randn(4, 64, side, side), torch.nn.Conv2d(64, 128, 3, 2, padding=1, bias=False)
    conv = Downsampling(64, 128, 3, 2, padding=1, bias=False)
    conv.load_state_dict(wanted.state_dict())
    wanted.double()(maps.double()).square().sum().backward()
    filled = [torch.full((2**16,), torch.nan) for _ in range(500)]
    del filled
    conv.bfloat16()(maps.bfloat16()).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad.double(), wanted.weight.grad, rtol=0.05, atol=0.5)


def test_large_networks_do_without_a_stride_where_there_is_one_pixel():
    network = torch.nn.Sequential(*(stage.make() for stage in torchvision_resnet("resnet18", 3, 1.0)))
    strided = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 7 and all(isinstance(m, Downsampling) for m in strided)
