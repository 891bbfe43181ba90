"""The sample objects: the server, a customer, and a service of a user's own, applied from `examples/`."""

import json
from pathlib import Path
from typing import Any, Final

from tenantry_cluster.stack import Postgres
from tenantry_testing.demo.conditions import wait_ready
from tenantry_testing.demo.facts import GREETING, SERVER, SYSTEM, TENANT
from tenantry_testing.demo.programs import Programs

MADE_HERE: Final = {
    (f"tenant/{TENANT}", ""),
    (f"databaseserver/{SERVER}", ""),
    (f"servicedeployment/{GREETING}", GREETING),
    ("servicedeployment/accounts", SYSTEM),
}
"""What the demo makes of our kinds, with the namespace."""


def apply_server(programs: Programs, root: Path, postgres: Postgres) -> None:
    """Give the operator a log-in and the authority of the server's certificate, name the server, and wait for it."""
    credentials = {"username": postgres.operator_user, "password": postgres.operator_password}
    programs.apply(_secret(f"{SERVER}-credentials", credentials))
    programs.apply(_secret(f"{SERVER}-ca", {"ca.crt": postgres.authority}))
    programs.kubectl("apply", "-f", str(root / "examples/databaseserver.yaml"))
    wait_ready(programs, f"databaseserver/{SERVER}")


def _secret(name: str, data: dict[str, str]) -> str:
    metadata = {"name": name, "namespace": SYSTEM}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


def apply_tenant(programs: Programs, root: Path) -> None:
    programs.kubectl("apply", "-f", str(root / "examples/tenant.yaml"))
    wait_ready(programs, f"tenant/{TENANT}", seconds=60)


def apply_greeting(programs: Programs, root: Path) -> None:
    programs.kubectl("apply", "-f", str(root / "examples/greeting.yaml"))
    wait_ready(programs, f"servicedeployment/{GREETING}", namespace=GREETING)


def wait_accounts(programs: Programs) -> None:
    wait_ready(programs, "servicedeployment/accounts", namespace=SYSTEM)


def foreign_objects(programs: Programs) -> list[str]:
    """The objects of our API that the demo did not make, each as kubectl names it."""
    kinds = "tenants,databaseservers,servicedeployments"
    found = map(_named, programs.items(kinds, "--all-namespaces"))
    return [name for name, place in found if (name, place) not in MADE_HERE]


def _named(item: dict[str, Any]) -> tuple[str, str]:
    return f"{item['kind'].lower()}/{item['metadata']['name']}", item["metadata"].get("namespace", "")


def delete_samples(programs: Programs) -> None:
    """Delete what `apply_…` made; the operator must run, it takes the finalizers away. Nothing when they are gone."""
    programs.kubectl("delete", "namespace", GREETING, "--ignore-not-found", "--timeout=120s")
    if programs.kubectl("get", "tenant", TENANT, "--ignore-not-found", "-o", "name"):
        unprotected = '{"spec": {"deletionProtection": "Disabled", "deletionPolicy": "Delete"}}'
        programs.kubectl("patch", "tenant", TENANT, "--type=merge", "--patch", unprotected)
        programs.kubectl("delete", "tenant", TENANT, "--timeout=120s")
    programs.kubectl("delete", "databaseserver", SERVER, "--ignore-not-found", "--timeout=60s")
