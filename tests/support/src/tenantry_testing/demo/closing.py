"""What the demo says of itself: its last lines, and what a shell needs to talk to it."""

import os
import shlex
from typing import Any

from tenantry_cluster.layout import Layout
from tenantry_testing.demo.facts import GREETING, SYSTEM, TENANT, registry_url
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
  shell      eval "$(make -s demo-env)" sets KUBECONFIG, PATH, GATEWAY, KEY

Try next, in such a shell
  kubectl get tenants,servicedeployments --all-namespaces
  curl -H "Authorization: Bearer $KEY" $GATEWAY/v1/users
  {globex} | kubectl apply -f - && kubectl wait tenant/globex --for=condition=Ready

Away again: make demo-down (what the demo made), make cluster-down (the cluster)
"""


def shell_lines(programs: Programs, record: DemoRecord) -> str:
    """Exports for a POSIX shell: our programs, the cluster, the gateway, the sample Tenant's key, the registry."""
    path = shlex.quote(programs.environment()["PATH"].removesuffix(os.environ.get("PATH", "")))
    values = {
        "KUBECONFIG": record.kubeconfig,
        "GATEWAY": record.gateway_url,
        "KEY": record.tenants[0].api_key,
        "TENANTRY_REGISTRY_URL": registry_url(record.postgres_url),
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*exports, f'export PATH={path}"$PATH"'])
