"""DQRoute itself: the joint loss of :mod:`dqroute.core`, on a network of nested experts."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from dqroute.core.checks import choose
from dqroute.core.joint_loss import DQRouteLoss
from dqroute.core.outputs import ExpertOutputs
from dqroute.core.routing import Fusion
from dqroute.methods.base import Method, Problem, register
from dqroute.methods.prediction import Judged
from dqroute.models.heads import Heads


@register("dqroute")
class DQRoute(Method):
    """Difficulty-aware class weights and three nested experts, fused by their detectors (Wei et al., 2025).

    All options but these, ``joint``, are those of :class:`~dqroute.core.joint_loss.DQRouteLoss`, here ``criterion``.

    ``judge`` says what difficulty and fusion are learned from: ``"out-of-fold"``, predictions of heads that never saw
    the image, for which the network has to read features of a pretrained encoder; ``"training"``, predictions for
    images that were trained on; ``"auto"``: out of fold where there are folds. ``"truth"`` is as ``"auto"``, but for
    the difficulty of the classes, which the data set tells: what a perfect judge would bring.

    ``fusion="auto"`` is ``"rings"`` on features and ``"nested"`` end to end; ``gaussian``, whether there is a further
    expert of another kind (:meth:`dqroute.models.heads.Heads.meet`), which None leaves to whether the fusion is by
    rings, on features.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        experts: int = 3,
        fusion: str = "auto",
        classifier: str = "auto",
        judge: str = "auto",
        gaussian: bool | None = None,
        **joint: Any,
    ) -> None:
        on_features = problem.encoder is not None
        if fusion == "auto":
            fusion = "rings" if on_features else "nested"
        if not isinstance(gaussian, bool | None):
            raise ValueError(f"gaussian is True, False or None; got {gaussian!r}")
        gaussian = (on_features and fusion == "rings") if gaussian is None else gaussian
        if gaussian and not (on_features and fusion == "rings"):
            raise ValueError("a Gaussian expert reads features of a pretrained encoder, and wants fusion='rings'")
        super().__init__(problem, experts=experts, classifier=classifier, gaussian=0.1 if gaussian else None)
        choose("judge", judge, ("auto", "out-of-fold", "training", "truth"))
        if judge == "truth" and problem.difficulty is None:
            raise ValueError(
                "judge='truth' wants a set that knows how hard its classes are, such as 'glyphs'; leave judge out"
            )
        if judge == "out-of-fold" and not problem.folds:
            raise ValueError(
                "judging out of fold needs folds of features: load the set with backbone='efficientnet-lite0', say, or "
                "use judge='training'"
            )
        self.judge = judge if judge in ("out-of-fold", "training") else "out-of-fold" if problem.folds else "training"
        self.criterion = DQRouteLoss(
            problem.counts,
            problem.groups,
            experts=experts,
            fusion=fusion,
            features=self.network.features,
            further=int(gaussian),
            **joint,
        )
        self.told: Tensor | None = None
        if judge == "truth":
            error = torch.tensor(problem.difficulty)
            self.told = (1 + self.criterion.tracker.lam) * error / error.max()

    @classmethod
    def settled(cls, options: dict[str, Any], folds: int | None, scratch: bool = True) -> dict[str, Any]:
        options = super().settled(options, folds, scratch)
        if options.get("fusion") == "auto":
            options["fusion"] = "nested" if folds is None else "rings"
        if options.get("judge") == "auto":
            options["judge"] = "out-of-fold" if folds else "training"
        if "gaussian" in options and options["gaussian"] is None:
            options["gaussian"] = folds is not None and options["fusion"] == "rings"
        # End to end there is no choice, and runs from before there was one are found.
        only = {"judge": "training", "gaussian": False} if folds is None else {}
        return {name: value for name, value in options.items() if (name, value) not in only.items()}

    def start_epoch(self, progress: float) -> None:
        super().start_epoch(progress)
        self.criterion.weigh(progress)

    def loss(self, outputs: ExpertOutputs, labels: Tensor) -> Tensor:
        """See :class:`~dqroute.core.joint_loss.DQRouteLoss`.

        Where there are several sets of heads it does not count the batch: ``observe`` is shown those who may judge.
        """
        nested = outputs.features[: len(self.criterion.focus)]
        count = False if isinstance(self.network, Heads) else None
        return self.criterion(outputs.logits, labels, nested, count=count)

    def observe(self, outputs: ExpertOutputs, labels: Tensor) -> None:
        if isinstance(self.network, Heads):
            self.criterion.observe(outputs, labels)

    def settle(self, judged: Judged) -> None:
        super().settle(judged)
        self.criterion.settle(*judged)

    def end_epoch(self) -> None:
        self.criterion.tracker.end_epoch(self.told)

    def diagnostics(self) -> dict[str, Any]:
        tracker = self.criterion.tracker
        values = {"difficulty": tracker.difficulty, "difficulty_weights": tracker.weights}
        values["class_weights"] = self.criterion.class_weights
        return {name: [float(f"{v:.5g}") for v in value.tolist()] for name, value in values.items()}

    def log_odds(self, outputs: ExpertOutputs) -> Tensor:
        return self.criterion.log_odds(*outputs)

    def class_sets(self) -> Tensor:
        nested = self.criterion.detectors.members
        return torch.cat([nested, torch.ones_like(nested[:1]).expand(self.criterion.further, -1)])

    def fuse(self, outputs: ExpertOutputs) -> Fusion:
        return self.criterion.fuse(*outputs)


def options_of_both() -> inspect.Signature:
    """The options of the loss, but for those that the network settles, then the method's own."""
    first, network, *own, _ = inspect.signature(DQRoute.__init__, eval_str=True).parameters.values()
    of_loss = inspect.signature(DQRouteLoss, eval_str=True).parameters.values()
    taken = {p.name: p for p in of_loss if p.kind is p.KEYWORD_ONLY and p.name not in ("features", "further")}
    return inspect.Signature([first, network, *(taken | {p.name: p for p in own}).values()])


DQRoute.__init__.__signature__ = options_of_both()  # type: ignore[attr-defined]


@register("dqroute-published")
class DQRoutePublished(DQRoute):
    """DQRoute as far as we could read it, all else as in ``dqroute``: judged on the images it trains on.

    Difficulty weights that accumulate, each expert's softmax over its own classes, a detector that reads features, and
    predictions mixed by the detectors' confidences. The texts we had leave open the prior, the strength and the heads.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        alpha: float = 0.5,
        lam: float = 1.0,
        gamma: float = 1.0,
        smoothing: float = 0.7,
        classifier: str = "auto",
    ) -> None:
        super().__init__(
            problem,
            alpha=alpha,
            lam=lam,
            gamma=gamma,
            smoothing=smoothing,
            memory=1.0,
            start=0.0,
            outsiders=0.0,
            detector="linear",
            fusion="restricted",
            classifier=classifier,
            judge="training",
        )
