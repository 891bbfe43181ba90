"""The last lines of the demo: what is there, where, and what to try next."""

from typing import Any

from tenantry_cluster.layout import Layout
from tenantry_testing.demo.facts import GREETING, SYSTEM, TENANT
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import DemoRecord, record_path
from tenantry_testing.demo.versions import server_versions


def closing_lines(layout: Layout, programs: Programs, record: DemoRecord, *, user: dict[str, Any]) -> str:
    """Commands are ready to be pasted into a shell that stands in the checkout."""
    globex = "sed 's/acme/globex/; s/Acme Ltd/Globex/' examples/tenant.yaml"
    return f"""
What is there
  cluster    {server_versions(programs)}
  Tenant     {TENANT}: schemas, roles, and the Secret {SYSTEM}/{TENANT}-database
  services   {SYSTEM}/accounts and {GREETING}/{GREETING}, each a ServiceDeployment behind the gateway
  user       {user["display_name"]} <{user["email"]}>, made by REST

Where
  gateway    {record.gateway_url}/v1/users and {record.gateway_url}/{GREETING}
  Postgres   in .tenantry/{record_path(layout).name}, with the Tenant's API key
  kubectl    export KUBECONFIG=$PWD/.tenantry/kubeconfig PATH=$PWD/.tenantry/bin:$PWD/.venv/bin:$PATH

Try next
  kubectl get tenants,servicedeployments --all-namespaces
  curl -H "Authorization: Bearer $(.venv/bin/python -m tenantry_testing.demo key)" {record.gateway_url}/v1/users
  {globex} | kubectl apply -f - && kubectl wait tenant/globex --for=condition=Ready

Away again: make demo-down (what the demo made), make cluster-down (the cluster)
"""
