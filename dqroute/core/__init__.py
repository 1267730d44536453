"""The method in torch alone, on plain tensors, for anyone's own training loop.

Imports torch and nothing else, of ours or of others.
"""
