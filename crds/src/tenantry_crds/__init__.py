"""The API tenantry.dev as pydantic models, and the renderer of its CRDs."""
