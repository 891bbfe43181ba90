"""The operator: Tenants become Postgres schemas, ServiceDeployments become releases."""
