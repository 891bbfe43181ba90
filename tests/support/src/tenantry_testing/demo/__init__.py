"""The demo: from a machine to a running system, and the way back."""
