"""Runs as papermill notebooks: one of them, or a grid of many on Dask. May import every room but ``show``.

Needs the extra ``notebooks``.
"""
