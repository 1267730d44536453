"""From a method and an image set to a finished run. May import every room but ``sweep`` and ``show``.

``fit`` finds a run by its ``request`` or begins it (``beginning``), ``loop`` trains it by ``settings`` with an
``optimizer``, ``checkpoint`` saves it; ``distribution`` is for several processes, ``interruption`` for who waits;
``reproduce`` repeats it.
"""
