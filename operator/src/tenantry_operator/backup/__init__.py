"""What runs in the Jobs: a tenant's backup with its test restore, and the restore of one. `python -m` runs it."""
