module tenantry.dev/pause

go 1.26.0
