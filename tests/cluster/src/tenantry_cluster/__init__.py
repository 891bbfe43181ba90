"""Brings up a Kubernetes cluster: a named one, kind, or a local node."""
