"""Reads: from Postgres and Kubernetes to the values of `model`."""
