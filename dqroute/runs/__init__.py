"""The run folder, and what is read out of it. May import ``core``, ``models``, ``data`` and ``methods``.

A training writes into a ``run``'s folder, and nothing here knows how to train. ``evaluate`` makes its ``report`` (by
``score``) and curves, on its ``own_data`` or on ``others``; ``explain`` and ``classify`` put it to work, ``tables`` set
runs side by side, ``published`` has many in a file; ``provenance`` tells where a run comes from, ``locking`` keeps two
processes apart. From what training left behind, out of fold (``judged``), come thresholds and sets (``decisions``),
``outsiders``, ``by_class``, ``audit``, ``label_next``.
"""
