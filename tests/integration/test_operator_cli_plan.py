"""``tenantry plan`` against a real API server and a real Postgres: it says what the operator does, and does nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_crds import names as api
from tenantry_operator.cli.app import application
from tenantry_operator.cli.cluster import ReadingKube
from tenantry_operator.cli.detour import Detours
from tenantry_operator.clients.kube import DEPLOYMENTS, SECRETS, TENANTS
from tenantry_testing.tenant_world import INSTALLATION, TenantWorld

NOTHING, FAILED, CHANGES = 0, 1, 2


def document(name: str, **spec: Any) -> dict[str, Any]:
    whole = {"displayName": name.title(), "isolation": "Schema", **spec}
    return {"apiVersion": api.API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": whole}


class Plans:
    """Runs the command against one world."""

    def __init__(self, world: TenantWorld, plane: ControlPlane, folder: Path) -> None:
        self._world = world
        self._plane = plane
        self._folder = folder

    async def run(self, *documents: dict[str, Any], words: tuple[str, ...] = (), stdin: bool = False) -> Result:
        text = yaml.safe_dump_all(documents)
        file = self._folder / "documents.yaml"
        file.write_text(text)
        place = ["--kubeconfig", str(self._plane.kubeconfig), "--namespace", self._world.settings.namespace]
        command = ["plan", "-f", "-" if stdin else str(file), *place, "--registry-server", "primary", *words]
        given = text if stdin else None
        return await asyncio.to_thread(CliRunner().invoke, application(), command, input=given)

    async def values(self, *documents: dict[str, Any], words: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]]]:
        result = await self.run(*documents, words=("-o", "json", *words))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
async def plans(world: TenantWorld, control_plane: ControlPlane, tmp_path: Path) -> Plans:
    """The command; the operator of this world has an installation id that is not derived, as a Deployment would say."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tenantry-operator", "namespace": world.settings.namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "operator"}},
            "template": {
                "metadata": {"labels": {"app": "operator"}},
                "spec": {
                    "containers": [
                        {
                            "name": "operator",
                            "image": "operator:test",
                            "env": [{"name": "TENANTRY_INSTALLATION_ID", "value": INSTALLATION}],
                        }
                    ]
                },
            },
        },
    }
    await world.kube.apply(DEPLOYMENTS, deployment)
    return Plans(world, control_plane, tmp_path)


def server_state(world: TenantWorld) -> list[Any]:
    roles = world.fetch("SELECT rolname FROM pg_roles ORDER BY 1")
    rows = world.fetch("SELECT name, state, version FROM tenantry.tenants ORDER BY 1", database="tenantry")
    return [roles, rows, world.fetch("SELECT nspname FROM pg_namespace ORDER BY 1")]


async def test_a_new_tenant_is_planned_and_nothing_is_made(world: TenantWorld, plans: Plans) -> None:
    before = server_state(world)
    code, (found,) = await plans.values(document("acme"))
    assert code == CHANGES, found
    assert found["outcome"] == "changes"
    assert found["place"] == "server primary, database app"
    actions = [step["action"] for step in found["steps"]]
    assert actions[0] == "RecordTenant"
    assert {"CreateRole", "CreateSchema", "Migrate", "WriteSecret"} <= set(actions)
    assert all(step["reason"] for step in found["steps"])
    assert await world.kube.get(TENANTS, "acme") is None
    assert server_state(world) == before


async def test_what_is_planned_is_what_the_operator_does(world: TenantWorld, plans: Plans) -> None:
    _, (found,) = await plans.values(document("acme"))
    await world.provision("acme", displayName="Acme")
    done = {role for (role,) in world.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^[ts]_acme'")}
    assert {step["about"]["role"] for step in found["steps"] if step["action"] == "CreateRole"} == done
    code, (found,) = await plans.values(document("acme", displayName="Acme"))
    assert (code, found["outcome"], found["steps"]) == (NOTHING, "nothing to do", [])


async def test_a_change_is_shown_as_the_field_and_as_the_actions(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme")
    result = await plans.run(document("acme", displayName="Acme", database={"connectionLimit": 3}))
    assert result.exit_code == CHANGES, result.output
    assert "apply: spec.database: absent -> {connectionLimit: 3}" in result.stdout
    assert "1. AlterRole" in result.stdout
    assert "t_acme_login_a" in result.stdout


async def test_drift_is_planned_away_and_no_password_is_printed(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme")
    password = (await world.secret("acme-database"))["password"]
    name, namespace = "acme-database", world.settings.namespace
    await world.kube.merge_patch(SECRETS, name, {"stringData": {"host": "elsewhere"}}, namespace=namespace)
    world.execute("REVOKE t_acme_app FROM t_acme_login_a")
    for words in ((), ("-o", "json"), ("-o", "yaml")):
        result = await plans.run(document("acme", displayName="Acme"), words=words)
        assert result.exit_code == CHANGES, result.output
        assert "GrantMembership" in result.stdout
        assert "WriteSecret" in result.stdout
        assert password not in result.output
    assert (await world.secret("acme-database"))["host"] == "elsewhere"


async def test_what_belongs_to_another_is_refused_as_by_the_operator(world: TenantWorld, plans: Plans) -> None:
    world.execute("CREATE SCHEMA t_acme")
    try:
        code, (found,) = await plans.values(document("acme"))
        assert (code, found["outcome"], found["reason"]) == (FAILED, "refused", "NotOurs")
        assert "t_acme exists" in found["message"]
    finally:
        world.execute("DROP SCHEMA t_acme")


async def test_a_secret_of_somebody_else_is_refused_before_the_tenant_is_there(
    world: TenantWorld, plans: Plans
) -> None:
    await world._secret("acme-database", username="mine")
    code, (found,) = await plans.values(document("acme"))
    assert (code, found["reason"]) == (FAILED, "NotOurs")
    assert "acme-database" in found["message"]


async def test_what_the_api_server_refuses_is_refused_here(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme")
    code, found = await plans.values(
        document("tenantry-x"), document("globex", isolation="Own"), document("acme", databaseServer="other")
    )
    assert code == FAILED
    assert [one["outcome"] for one in found] == ["refused"] * 3
    assert "names that start with tenantry" in found[0]["message"]
    assert "Unsupported value" in found[1]["message"]
    assert "databaseServer cannot be set" in found[2]["message"]


async def test_documents_come_from_standard_input_and_other_kinds_are_passed_over(plans: Plans) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    result = await plans.run(document("acme"), other, document("globex"), stdin=True)
    assert result.exit_code == CHANGES, result.output
    assert "Tenant acme (server primary, database app): changes" in result.stdout
    assert "ConfigMap x: not planned" in result.stdout
    assert "Tenant globex (server primary, database app): changes" in result.stdout


async def test_a_server_that_is_not_there_is_told_with_those_that_are(plans: Plans) -> None:
    code, (found,) = await plans.values(document("acme", databaseServer="nowhere"))
    assert (code, found["outcome"], found["reason"]) == (FAILED, "blocked", "ServerNotFound")
    assert "there is no DatabaseServer nowhere; there are: primary" in found["message"]


async def test_a_database_that_cannot_be_reached_from_here_is_said_so(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme")
    changed = document("acme", displayName="Acme", database={"connectionLimit": 3})
    code, (found,) = await plans.values(changed, words=("--through", "127.0.0.1:1"))
    assert (code, found["outcome"]) == (FAILED, "unknown")
    assert found["changes"], "what the file changes is known all the same"
    assert "cannot be read from here" in found["notes"][0]


async def test_another_address_is_used_and_the_certificate_still_checked(world: TenantWorld, plans: Plans) -> None:
    through = ("--through", f"primary=127.0.0.1:{world.postgres.port}")
    await world.apply_server(port=1)
    code, (found,) = await plans.values(document("acme"))
    assert (code, found["outcome"]) == (FAILED, "unknown")
    code, (found,) = await plans.values(document("acme"), words=through)
    assert (code, found["outcome"]) == (CHANGES, "changes")
    await world.apply_server(host="database.invalid")
    code, (found,) = await plans.values(document("acme"), words=through)
    assert code == FAILED
    assert "certificate" in found["message"], "it is for 127.0.0.1, not for database.invalid"


async def test_a_takeover_by_force_is_planned_before_the_tenant_is_there(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme")
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"finalizers": None}})
    await world.kube.delete(TENANTS, "acme")
    code, (found,) = await plans.values(document("acme"))
    assert (code, found["reason"]) == (FAILED, "NotOurs")
    code, (found,) = await plans.values(document("acme", adoptionPolicy="Force"))
    assert (code, found["outcome"]) == (CHANGES, "changes"), found
    assert "WriteMarker" in [step["action"] for step in found["steps"]]


async def test_drift_that_is_only_reported_is_told_as_left_undone(world: TenantWorld, plans: Plans) -> None:
    await world.provision("acme", displayName="Acme", driftPolicy="Report")
    world.execute("ALTER ROLE t_acme_login_a CONNECTION LIMIT 99")
    code, (found,) = await plans.values(document("acme", displayName="Acme", driftPolicy="Report"))
    assert (code, found["outcome"], found["steps"]) == (NOTHING, "nothing to do", [])
    assert any("left undone" in note and "t_acme_login_a" in note for note in found["notes"])


async def test_an_extension_that_is_not_to_be_had_is_told_beside_what_is_done(world: TenantWorld, plans: Plans) -> None:
    asked = {"extensions": [{"name": "citext"}, {"name": "nowhere"}], "readOnlyRole": "Enabled"}
    code, (found,) = await plans.values(document("acme", database=asked))
    assert (code, found["outcome"]) == (CHANGES, "changes"), found
    made = [step["about"] for step in found["steps"] if step["action"] == "CreateExtension"]
    assert made == [{"extension": "citext", "schema": "extensions"}]
    assert "t_acme_ro" in [step["about"].get("role") for step in found["steps"] if step["action"] == "CreateRole"]
    [note] = found["notes"]
    assert note.startswith("ExtensionUnavailable: the server has no extension nowhere")


async def test_what_a_plan_looks_through_cannot_write(world: TenantWorld) -> None:
    reading = ReadingKube(world.kube)
    assert await reading.list(TENANTS) == []
    with pytest.raises(AssertionError, match="a plan changes nothing"):
        await reading.create(TENANTS, document("acme"))
    servers = Detours("tenantry-cli")
    try:
        async with servers.connection(await world.addresses.address("primary")) as connection:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await connection.execute("CREATE TABLE things (id int)")
    finally:
        await servers.close()
