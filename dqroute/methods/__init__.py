"""The methods by name: each a network, a loss and a way to predict. May import ``core``, ``models`` and ``data``.

``base`` says what a method is; a new one is a subclass with a ``loss`` and a line ``@register("name")`` in a file here.
"""

import importlib
import pkgutil

from dqroute.methods.base import METHODS, Method, Problem, method_options, register
from dqroute.methods.prediction import Prediction

__all__ = ["METHODS", "Method", "Prediction", "Problem", "method_options", "register"]

for module in pkgutil.iter_modules(__path__, __name__ + "."):
    importlib.import_module(module.name)  # which fills METHODS
