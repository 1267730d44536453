"""Where a fine-tuning begins: an encoder's own weights, and heads that were trained on its features before."""

from __future__ import annotations

import torch
from torch import nn

from dqroute.methods.base import Method
from dqroute.models.encoders import Trunk, architecture
from dqroute.models.experts import ExpertNetwork
from dqroute.models.heads import Heads
from dqroute.runs.run import Run


@torch.no_grad()
def start_from_encoder(model: Method, backbone: str, heads: Run | None) -> None:
    """Put the encoder's weights into a model's trunk, and what ``heads`` learned behind it.

    The model then says of a picture what the trained heads say: random ones would first tear at the trunk (linear
    probing before fine-tuning, Kumar et al., 2022).
    """
    assert isinstance(model.network, ExpertNetwork)
    trunk = model.network.trunk[0]
    assert isinstance(trunk, Trunk)
    trunk.network.load_state_dict(architecture(backbone)[0].state_dict())
    if heads is None:
        return
    learned = heads.model
    assert isinstance(learned.network, Heads) and trunk.turn is not None
    turn = learned.axes / learned.scale[:, None]
    trunk.turn.weight.copy_(turn.T)
    trunk.turn.bias.copy_(-learned.centre @ turn)
    last = learned.network.weight[-1].unflatten(0, (learned.network.trained, -1))
    for k, classifier in enumerate(model.network.classifiers):
        weight = classifier.weight
        assert isinstance(weight, nn.Parameter)
        weight.copy_(last[k])
        if learned.network.bias is not None and isinstance(classifier.bias, nn.Parameter):
            classifier.bias.copy_(learned.network.bias[-1, k])
