"""One network for every method: a trunk of shared stages, then for each expert a branch and a classifier.

A branch is an expert's own copy of the stages that are not shared, if any. One expert is an ordinary network.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dqroute.core.checks import choose
from dqroute.core.outputs import ExpertOutputs
from dqroute.models.backbones import Stage, backbone_stages
from dqroute.models.encoders import Trunk, is_encoder

COSINE_SCALE = 30.0  # of the cosine classifier's logits, as in the multi-expert papers


class CosineClassifier(nn.Module):
    """Logits ``scale · cos(feature, weight)``: every class has the same weight norm, however many images it had."""

    def __init__(self, features: int, num_classes: int, scale: float = COSINE_SCALE) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features).uniform_(-1, 1))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class ExpertNetwork(nn.Module):
    """A shared trunk and ``K`` expert branches.

    Args:
        backbone: a name from :func:`~dqroute.models.backbones.backbone_names`, or a pretrained encoder's
            (:mod:`dqroute.models.encoders`), which is one stage.
        num_classes: ``C``; channels: of the images; experts: ``K``, at least 1.
        shared_depth: how many of the backbone's stages the experts share, from 1 to all. The CIFAR ResNets have 3
            stages, torchvision's 4; the stem belongs to the first. With all of them shared, an expert is a classifier
            of features that the experts learn together.
        branch_width: see :func:`~dqroute.models.backbones.cifar_resnet`.
        classifier: ``"linear"`` or ``"cosine"``; scale: of the cosine.
        tune, components: of a pretrained encoder as backbone, see :class:`~dqroute.models.encoders.Trunk`.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        channels: int = 3,
        experts: int = 1,
        shared_depth: int = 1,
        branch_width: float = 1.0,
        classifier: str = "linear",
        tune: str | int = "all",
        components: int = 0,
        scale: float = COSINE_SCALE,
    ) -> None:
        super().__init__()
        if is_encoder(backbone):
            trunk = Trunk(backbone, tune, components)
            stages = [Stage(lambda: trunk, trunk.width)]
        else:
            stages = backbone_stages(backbone, channels, branch_width)
        if experts < 1:
            raise ValueError(f"a network needs at least one expert; got experts={experts}")
        if not 1 <= shared_depth <= len(stages):
            raise ValueError(f"{backbone} has {len(stages)} stages: shared_depth runs from 1 to {len(stages)}")
        choose("classifier", classifier, ("linear", "cosine"))
        shared, own = stages[:shared_depth], stages[shared_depth:]
        self.num_classes, self.features = num_classes, stages[-1].channels
        self.trunk = nn.Sequential(*[stage.make() for stage in shared])
        self.branches = nn.ModuleList(nn.Sequential(*[stage.make() for stage in own]) for _ in range(experts))
        make = nn.Linear if classifier == "linear" else partial(CosineClassifier, scale=scale)
        self.scale, self.classifiers = scale, nn.ModuleList(make(self.features, num_classes) for _ in range(experts))
        for module in () if is_encoder(backbone) else self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def experts(self) -> int:
        """``K``."""
        return len(self.branches)

    def forward(self, images: Tensor) -> ExpertOutputs:
        """Run the experts on normalised images ``[B, channels, H, W]``; outputs are float32."""
        shared = self.trunk(images)
        features = [branch(shared).mean(dim=(2, 3)).float() for branch in self.branches]
        # The classifiers are a sliver of the work; in full precision their logits keep their last digits.
        with torch.autocast(images.device.type, enabled=False):
            logits = [classify(read) for classify, read in zip(self.classifiers, features, strict=True)]
        return ExpertOutputs(torch.stack(logits), torch.stack(features))
