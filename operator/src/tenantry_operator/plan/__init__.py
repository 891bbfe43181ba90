"""Decisions: pure functions from what is desired and what was observed to actions with reasons."""
