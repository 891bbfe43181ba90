"""Writes: the actions of `plan`, each safe to repeat."""
