"""`tenantry tenant` against a test's API server, while the Job that it makes is run."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from typer.testing import CliRunner, Result

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import DEPLOYMENTS
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.tenant_world import INSTALLATION, TenantWorld

IMAGE = "tenantry.example/operator:1"
Tenantry = Callable[..., Coroutine[Any, Any, Result]]

TRAPS = (
    """CREATE FUNCTION climb(a int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
        IF session_user::text !~ '^t_acme' THEN
            PERFORM set_config('role', 'none', false);
            BEGIN CREATE ROLE climber SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END;
            BEGIN CREATE ROLE climber; EXCEPTION WHEN OTHERS THEN NULL; END;
            BEGIN CREATE SCHEMA climber; EXCEPTION WHEN OTHERS THEN NULL; END;
            PERFORM set_config('role', 't_acme_owner', false);
        END IF;
        RETURN true;
    END $$""",
    "CREATE TABLE traps (id int CHECK (t_acme.climb(id)))",
    "INSERT INTO traps VALUES (1)",
    """CREATE FUNCTION cast_as(a traps) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'a cast runs as %', session_user;
    END $$""",
    "CREATE CAST (traps AS text) WITH FUNCTION cast_as(traps)",
)
"""What a restore and a comparison run for a customer, who waits for a session of the operator's."""

# From 16 on whoever makes a role is a member of it for good, without what is in it.
BORROWED = """
SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
WHERE u.rolname = %s AND r.rolname LIKE 't_acme%%' AND pg_has_role(u.oid, r.oid, 'USAGE')
"""


async def tenantry_command(world: TenantWorld, control_plane: ControlPlane) -> Tenantry:
    """Return the command; the operator's Deployment says how Jobs are run, as the chart has it."""
    variables = {"TENANTRY_INSTALLATION_ID": INSTALLATION, "TENANTRY_JOB_POD": json.dumps({"image": IMAGE})}
    container = {
        "name": "operator",
        "image": IMAGE,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tenantry-operator", "namespace": world.settings.namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "operator"}},
            "template": {"metadata": {"labels": {"app": "operator"}}, "spec": {"containers": [container]}},
        },
    }
    await world.kube.delete(DEPLOYMENTS, "tenantry-operator", namespace=world.settings.namespace)
    await world.kube.create(DEPLOYMENTS, body)
    place = ["--kubeconfig", str(control_plane.kubeconfig), "--namespace", world.settings.namespace]

    async def run(*words: str) -> Result:
        command = ["tenant", *words, *place, "--registry-server", "primary"]
        return await asyncio.to_thread(lambda: CliRunner().invoke(application(), command))

    return run


async def carried_out(runner: JobRunner, tenantry: Tenantry, *words: str) -> Result:
    """Run the command while its Job is run."""
    waiting = asyncio.create_task(tenantry(*words, "--timeout", "120"))
    while not waiting.done():
        if any(not (job.get("status") or {}).get("conditions") for job in await runner.jobs()):
            await runner.run_next()
        await asyncio.sleep(0.05)
    return await waiting


async def leave(world: TenantWorld) -> None:
    """Delete acme with a backup; the Job is made."""
    await world.leave("acme", "BackupThenDelete")
    await world.reconcile("acme")


def leftovers(world: TenantWorld) -> list[tuple[Any, ...]]:
    """Return databases of trials, roles lent for them or got by them, and ours that the operator's login has."""
    return [
        *world.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^(climber|tenantry_lent)'"),
        *world.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'tenantry_scratch%%'"),
        *world.fetch(BORROWED, world.operator.user),
    ]
