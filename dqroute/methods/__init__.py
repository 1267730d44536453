"""The methods by name: each a network, a loss and a way to predict. May import ``core``, ``models`` and ``data``.

``base`` says what a method is; a new one is a subclass with a ``loss`` and a line ``@register("name")``.
"""

from dqroute.methods import baselines as baselines  # the files that fill METHODS
from dqroute.methods import dqroute as dqroute
from dqroute.methods import ensembles as ensembles
from dqroute.methods.base import METHODS, Method, Problem, method_options, register
from dqroute.methods.prediction import Prediction

__all__ = ["METHODS", "Method", "Prediction", "Problem", "method_options", "register"]
