"""Runs as papermill notebooks, one or a grid of them on Dask. May import every room but ``show``.

``grid`` reads what a grid asks for (``document`` its file), ``sweep`` hands it out, ``worker`` carries a run out;
``notebook`` executes one, as the main job does, and ``parameters`` guards what it is given. Needs the extra
``notebooks``.
"""
