"""The run folder, and what is read out of it: reports and curves, explanations, tables, published runs.

A training writes into a run folder (``run.py`` names its files), and nothing here knows how to train. May import
``core``, ``models``, ``data`` and ``methods``.
"""
