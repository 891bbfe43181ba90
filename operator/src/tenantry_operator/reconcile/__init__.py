"""Glue: observe, plan, apply and status, for one object at a time."""
