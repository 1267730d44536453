"""Networks: backbones by name, cut into a trunk and a branch an expert, and the weights they start from.

May import ``core``.
"""
