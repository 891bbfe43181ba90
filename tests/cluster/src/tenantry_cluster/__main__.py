from tenantry_cluster.cli import app

app(prog_name="python -m tenantry_cluster")
