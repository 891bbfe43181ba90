"""The only doors to the API server and to Postgres."""
