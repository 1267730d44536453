"""Classes as Gaussians: nothing is trained, means and one covariance are worked out."""

from __future__ import annotations

from dqroute.methods.base import Method, Problem, register


@register("gaussian")
class Gaussian(Method):
    """A Gaussian for each class on features of a pretrained encoder, all of one covariance: no training, no epochs.

    ``ridge``, 0 to 1, draws the covariance to a sphere: at 1 the nearest class mean is the answer. See
    :meth:`dqroute.models.heads.Heads.meet`.
    """

    trained = False

    def __init__(self, problem: Problem, *, ridge: float = 0.1) -> None:
        if problem.encoder is None:
            raise ValueError(
                "gaussian reads features of a pretrained encoder: load the set with backbone='efficientnet-lite0', say"
            )
        super().__init__(problem, experts=0, gaussian=ridge)
