"""Operations, against numbers worked by hand or published."""

import pytest
import torch

from dqroute.models.cost import operations
from dqroute.models.experts import ExpertNetwork


def test_a_small_network_by_hand():
    """The convolution: 3 outputs of 4x4 pixels, 2·9 multiply-adds each. The linear layer: 48·5 multiply-adds."""
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(48, 5))
    assert operations(network, (2, 4, 4)) == 2 * (3 * 16 * 18 + 48 * 5)


def test_resnet32_has_the_size_its_paper_gives():
    """0.46 million parameters with ten classes (He et al., 2016, table 6), about 69 million multiply-adds."""
    network = ExpertNetwork("resnet32", 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(0.46e6, rel=0.02)
    assert operations(network, (3, 32, 32)) == pytest.approx(2 * 69e6, rel=0.02)


def test_experts_cost_their_branches_and_the_trunk_once():
    one, two, three = (operations(ExpertNetwork("resnet8", 10, experts=k), (3, 32, 32)) for k in (1, 2, 3))
    assert one < two and three - two == two - one


def test_counting_leaves_the_network_as_it_was():
    network = ExpertNetwork("resnet8", 10).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    operations(network, (3, 32, 32))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
