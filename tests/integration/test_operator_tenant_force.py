"""The escape: a Tenant that can never leave in good order is let go by its very UID, and by nothing less."""

import psycopg
import pytest

from tenantry_crds import names as api
from tenantry_operator.clients.kube import DATABASESERVERS, SECRETS, TENANTS
from tenantry_operator.model.names import TenantNames
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_world import TenantWorld

KEY = "tenantry.dev/force-finalize"
LOGINS = ("t_acme_login_a", "t_acme_login_b")


async def force(world: TenantWorld, name: str, uid: str) -> None:
    await world.kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {KEY: uid}}})
    await world.reconcile(name)


async def lose_data(world: TenantWorld, name: str = "acme", policy: str = "Delete") -> str:
    """Delete a Tenant of which a schema is lost; return its UID."""
    made = await world.provision(name)
    world.execute(f"DROP SCHEMA s_{name} CASCADE")
    await world.leave(name, policy)
    assert world.condition(await world.tenant(name), "Deleting") == ("True", "DataMissing")
    return str(made["metadata"]["uid"])


def remove_what_was_left(world: TenantWorld, name: str) -> None:
    """Do by hand what the Event says."""
    names, left = TenantNames(name), world.names_on_server(name)
    world.execute(*[f"DROP SCHEMA {one} CASCADE" for one in names.schemas if one in left])
    for role in names.roles:
        if role in left:
            world.execute(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def states(world: TenantWorld) -> list[str]:
    return [row[0] for row in world.fetch("SELECT state FROM tenantry.tenants ORDER BY name", database="tenantry")]


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_a_tenant_whose_data_is_missing_is_let_go(world: TenantWorld, policy: str) -> None:
    uid = await lose_data(world, policy=policy)
    await force(world, "acme", uid)
    assert await world.kube.get(TENANTS, "acme") is None
    assert states(world) == ["deleted"]
    assert await world.secret("acme-database") == {}
    assert "t_acme" in world.names_on_server("acme"), "nothing is dropped"
    said = dict(await world.events("acme"))["ForceFinalized"]
    assert "t_acme" in said
    assert "DataMissing" in said
    assert "registry says deleted" in said
    # What is left is somebody's to look at, and no empty schema takes the place of the one that was lost, force or not.
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "NotOurs")
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"adoptionPolicy": "Force"}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "DataMissing")
    remove_what_was_left(world, "acme")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_both_logins_of_a_rotation_are_left_and_named_and_one_works_when_the_data_is_had_back(
    world: TenantWorld,
) -> None:
    await world.apply_server("second", database="elsewhere", default=False)
    made = await world.provision("acme")
    before = await world.secret("acme-database")
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    await world.reconcile("acme")
    after = await world.secret("acme-database")
    assert (before["username"], after["username"]) == LOGINS
    world.execute("UPDATE tenantry.tenants SET server = 'second'", database="tenantry")
    await world.kube.merge_patch(DATABASESERVERS, "second", {"spec": {"port": 1}})
    await world.leave("acme", "Retain")
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "ServerUnreachable")
    await force(world, "acme", made["metadata"]["uid"])
    assert await world.kube.get(TENANTS, "acme") is None
    said = dict(await world.events("acme"))["ForceFinalized"]
    assert all(login in said for login in LOGINS)
    assert set(LOGINS) <= world.names_on_server("acme")
    assert await world.secret("acme-database") == {}
    # The server comes back. The Secret is lost, so that a login gets a new password, and the other one its last hour.
    world.execute("UPDATE tenantry.tenants SET server = 'primary'", database="tenantry")
    await world.provision("acme", adoptionPolicy="Force")
    found = await world.secret("acme-database")
    with world.login(found) as connection:
        connection.execute("SET ROLE t_acme_owner")
    with pytest.raises(psycopg.OperationalError):
        world.login(after)
    world.login(before).close()
    assert LOGINS[0] in world.message(await world.tenant("acme"), "CredentialsReady")
    await world.apply_tenant("acme", adoptionPolicy="Force", credentials={"rotation": {"overlap": "0s"}})
    await world.settle()
    assert set(LOGINS) & world.names_on_server("acme") == {found["username"]}


async def test_a_secret_of_somebody_else_is_left(world: TenantWorld) -> None:
    uid = await lose_data(world)
    await world.kube.merge_patch(
        SECRETS,
        "acme-database",
        {"metadata": {"annotations": {api.ANNOTATION_OWNER_UID: "another"}}},
        namespace=world.settings.namespace,
    )
    theirs = await world.secret("acme-database")
    await force(world, "acme", uid)
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.secret("acme-database") == theirs


async def test_a_wrong_uid_does_nothing_and_says_so_once(world: TenantWorld) -> None:
    await lose_data(world)
    for _ in range(2):
        await force(world, "acme", "00000000-0000-0000-0000-000000000000")
        await world.reconcile_once("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "DataMissing")
    assert "names uid" in world.message(tenant, "Deleting")
    assert [reason for reason, _ in await world.events("acme")].count("ForceFinalizeRefused") == 1
    assert states(world) == ["active"]
    assert await world.secret("acme-database") != {}


async def test_protection_is_not_overridden(world: TenantWorld) -> None:
    made = await world.provision("acme")
    await world.leave("acme", "Delete", protection="Enabled")
    await force(world, "acme", made["metadata"]["uid"])
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "Protected")


async def test_a_tenant_that_can_leave_in_good_order_does(world: TenantWorld) -> None:
    made = await world.provision("acme")
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {KEY: made["metadata"]["uid"]}}})
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert "ForceFinalized" not in dict(await world.events("acme"))


@pytest.mark.parametrize(("policy", "state"), [("Delete", "deleted"), ("Retain", "released")])
async def test_a_tenant_of_a_server_that_is_gone_for_good_is_let_go(
    world: TenantWorld, policy: str, state: str
) -> None:
    await world.apply_server("second", database="elsewhere", default=False)
    made = await world.provision("acme")
    uid = made["metadata"]["uid"]
    # The registry is on the same Postgres here: the Tenant's own server is made to point at nothing.
    world.execute("UPDATE tenantry.tenants SET server = 'second'", database="tenantry")
    await world.kube.merge_patch(DATABASESERVERS, "second", {"spec": {"port": 1}})
    await world.leave("acme", policy)
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "ServerUnreachable")
    await force(world, "acme", uid)
    assert await world.kube.get(TENANTS, "acme") is None
    assert states(world) == [state]
    assert "ForceFinalized" in dict(await world.events("acme"))


async def test_a_tenant_is_let_go_when_the_registry_is_gone_too(world: TenantWorld) -> None:
    made = await world.provision("acme", databaseServer="primary")
    world.postgres.stop()
    await world.leave("acme", "Delete")
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "ServerUnreachable")
    await force(world, "acme", made["metadata"]["uid"])
    assert await world.kube.get(TENANTS, "acme") is None
    assert "could not be told" in dict(await world.events("acme"))["ForceFinalized"]
    world.postgres.start()


async def test_a_server_that_never_worked_and_its_tenant_do_not_hold_each_other(world: TenantWorld) -> None:
    await world.apply_server("second", port=1, default=False)
    await world.apply_tenant("acme", databaseServer="second")
    await world.reconcile("acme")
    await world.kube.delete(DATABASESERVERS, "second")
    await world.reconcile_server("second")
    assert world.condition(await world.server("second"), "Deleting") == ("True", "InUse")
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    await world.reconcile_server("second")
    assert await world.kube.get(DATABASESERVERS, "second") is None


async def test_the_first_server_that_never_worked_and_its_tenant_are_let_go(bare_world: TenantWorld) -> None:
    world = bare_world
    await world.apply_server(port=1)
    made = await world.apply_tenant("acme")
    await world.reconcile("acme")
    await world.leave("acme", "Delete")
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "ServerUnreachable")
    await force(world, "acme", made["metadata"]["uid"])
    assert await world.kube.get(TENANTS, "acme") is None
    await world.kube.delete(DATABASESERVERS, "primary")
    await world.reconcile_server()
    assert await world.kube.get(DATABASESERVERS, "primary") is None


@pytest.mark.parametrize("calls", range(2, 9))
async def test_the_escape_survives_a_crash(world: TenantWorld, calls: int) -> None:
    uid = await lose_data(world)
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {KEY: uid}}})
    await until_it_dies(world, "acme", calls)
    await world.restart()
    if await world.kube.get(TENANTS, "acme") is not None:
        await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert states(world) == ["deleted"]
    assert await world.kube.get(SECRETS, "acme-database", namespace=world.settings.namespace) is None
