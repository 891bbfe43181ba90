"""Worlds for the tests: servers, operators, callers, the demo."""
