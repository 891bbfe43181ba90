"""Proxies before the API server and before Postgres: they count what the operator writes, and break what they pass."""
