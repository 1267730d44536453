"""What a run is asked for, checked before anything is built; damaged settings are tests/runs/test_run.py's."""

import warnings

from dqroute.methods.base import Problem
from dqroute.models.encoders import architecture
from dqroute.runs.asked import Asked, AskedOptions, weights_asked


def test_the_weights_of_a_tuned_network_are_counted_without_a_word(problem):
    colour = {"channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    tuned = Problem(problem.counts, problem.groups, backbone="efficientnet-lite0", **colour)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counted = weights_asked(Asked.model_construct(problem=tuned, options=AskedOptions(experts=3)))
    own = sum(p.numel() for p in architecture("efficientnet-lite0")[0].parameters())
    assert counted >= own + 3 * 10 * 1280
