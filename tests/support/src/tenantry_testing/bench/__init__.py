"""Figures with their raw samples: latency, throughput against a raw script, and what is written at the API server."""
