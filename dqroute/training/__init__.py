"""From a method and an image set to a finished run: settings, loop, checkpoint, several processes, and again.

May import every room but ``sweep`` and ``show``.
"""
