"""Networks, and where they compute. May import ``core``.

``backbones`` by name, cut into a trunk and a branch an expert by ``experts``; ``pretrained`` weights to start from;
``folding`` for prediction; ``device``, precision and compiling; ``cost`` in parameters and operations.
"""
