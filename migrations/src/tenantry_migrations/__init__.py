"""The histories of the registry and of the tenants' schemas, and the runner that replays them."""
