"""The method in torch alone, on plain tensors, for anyone's own training loop; imports nothing else, ours or others'.

:class:`~dqroute.core.joint_loss.DQRouteLoss` is all of it in one module. Its parts work alone: class counts and groups
(``long_tail``), the tracker (``difficulty``), ``detectors``, fusion (``routing``), ``judging``, rivals' ``losses``.
"""

from dqroute.core.detectors import DETECTORS, DetectorBank
from dqroute.core.difficulty import DifficultyTracker
from dqroute.core.joint_loss import DQRouteLoss
from dqroute.core.long_tail import ShotGroups, exponential_counts, nested_class_sets, shot_groups
from dqroute.core.outputs import ExpertOutputs
from dqroute.core.routing import FUSIONS, Fusion, fuse, rule

__all__ = [
    "DETECTORS",
    "FUSIONS",
    "DQRouteLoss",
    "DetectorBank",
    "DifficultyTracker",
    "ExpertOutputs",
    "Fusion",
    "ShotGroups",
    "exponential_counts",
    "fuse",
    "nested_class_sets",
    "rule",
    "shot_groups",
]
