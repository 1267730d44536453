"""The run folder, and what is read out of it: evaluation, explanation, tables.

A training writes into a run folder, and nothing here knows how to train. May import ``core``, ``models``, ``data`` and
``methods``.
"""
