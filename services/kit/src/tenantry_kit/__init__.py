"""The skeleton of every account service."""
