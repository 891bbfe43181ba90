"""Users of a tenant, by REST."""
