"""What a backup that fails or dies leaves: no row in what it says, and no database of a trial on the server."""

from datetime import UTC, datetime

import psycopg

from tenantry_operator.apply.leftovers import drop_trial
from tenantry_operator.backup.lent import lent_name
from tenantry_operator.backup.scratch import scratch_mark, scratch_name
from tenantry_operator.backup.servers import LOCK_SPACE, lock_number
from tenantry_operator.clients.kube import JOBS, PODS
from tenantry_operator.model.leftovers import Trial
from tenantry_testing.crd_examples import BACKUP
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.rights import job_ended
from tenantry_testing.tenant_world import INSTALLATION, TenantWorld

PLANTED = "4111-1111-planted"
CARDS = (
    "SET ROLE t_acme_owner",
    """CREATE FUNCTION sane(a text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
        IF session_user::text !~ '^t_acme' THEN RAISE EXCEPTION 'no such card: %', a; END IF;
        RETURN true;
    END $$""",
    "CREATE TABLE cards (number text)",
    f"INSERT INTO cards VALUES ('{PLANTED}')",
)


async def anew(world: TenantWorld, runner: JobRunner) -> None:
    [job] = await runner.jobs()
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)
    await world.reconcile("acme")


async def test_a_row_that_a_trial_refuses_is_told_nowhere(world: TenantWorld, runner: JobRunner) -> None:
    await world.provision("acme", backup=BACKUP)
    with world.login(await world.secret("acme-database")) as connection:
        for statement in CARDS:
            connection.execute(statement)
    await world.leave("acme", "BackupThenDelete")
    await world.reconcile("acme")
    told = []
    for check, said in (
        ("t_acme.sane(number)", "it may hold rows: see the server's log"),
        (
            "session_user::text ~ '^t_acme' OR number IS NULL",
            'row for relation "cards" violates check constraint "odd"',
        ),
    ):
        # It holds for whoever wrote the rows, and not for whoever restores them.
        world.execute(
            "SET SESSION AUTHORIZATION t_acme_owner",
            "ALTER TABLE t_acme.cards DROP CONSTRAINT IF EXISTS odd",
            f"ALTER TABLE t_acme.cards ADD CONSTRAINT odd CHECK ({check})",
        )
        told.append(await runner.run_next())
        await world.reconcile("acme")
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Deleting") == ("True", "BackupFailed")
        assert 'COPY failed for table "cards"' in world.message(tenant, "Deleting")
        assert said in world.message(tenant, "Deleting")
        told += [str(tenant), str(await world.events("acme")), str(await runner.jobs())]
        told.append(str(await world.kube.list(PODS, namespace=world.settings.namespace)))
        await anew(world, runner)
    assert PLANTED not in "".join(told)


def databases(world: TenantWorld) -> set[str]:
    return {str(name) for (name,) in world.fetch("SELECT datname FROM pg_database WHERE datname ~ '^tenantry_scratch'")}


async def test_what_a_dead_trial_left_is_dropped_once_nobody_is_at_work(world: TenantWorld, runner: JobRunner) -> None:
    tenant = await world.provision("acme", backup=BACKUP)
    uid = tenant["metadata"]["uid"]
    await world.leave("acme", "BackupThenDelete")
    await world.reconcile("acme")
    await runner.run_next(kill_at="made the database", ends=False)
    left, lent = scratch_name(uid), lent_name(scratch_name(uid), "t_acme_owner")
    with world.postgres.connect("app", world.operator) as operator:
        operator.autocommit = True
        operator.execute(f"CREATE ROLE {lent} LOGIN NOINHERIT")
        operator.execute(f"GRANT t_acme_owner TO {lent}")
        operator.execute(f"GRANT CONNECT ON DATABASE {left} TO {lent}")
        # By another installation, by nobody, and by a mark that is another Tenant's.
        others = {
            scratch_name("uid-2"): scratch_mark("uid-2", "another"),
            "tenantry_scratch_0": "",
            "tenantry_scratch_1": scratch_mark("uid-3", INSTALLATION),
        }
        for name, mark in others.items():
            operator.execute(f"CREATE DATABASE {name}")
            operator.execute(f"COMMENT ON DATABASE {name} IS '{mark}'")
        parameters = {**operator.info.get_parameters(), "password": operator.info.password}
    await world.reconcile_server()
    assert databases(world) == {left, *others}

    [job] = await runner.jobs()
    failed = {"status": job_ended("Failed", now=datetime.now(UTC))}
    namespace = world.settings.namespace
    await world.kube.merge_patch(JOBS, job["metadata"]["name"], failed, namespace=namespace, subresource="status")
    with world.postgres.connect("app", world.operator) as pod:
        # As one whose node is out of reach, and which is at work all the same.
        pod.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_SPACE, lock_number(uid)))
        await world.reconcile_server()
        assert databases(world) == {left, *others}
    await world.reconcile_server()
    assert databases(world) == {*others}
    async with await psycopg.AsyncConnection.connect(autocommit=True, **parameters) as connection:
        # As when it was made anew, and by another, since it was looked at.
        assert not await drop_trial(connection, Trial(scratch_name("uid-2"), "uid-2", INSTALLATION))
    assert databases(world) == {*others}
    assert world.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^tenantry_lent'") == []
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")
    world.execute(*(f"DROP DATABASE {name}" for name in others))
    world.counted.clear()
    await world.reconcile_server()
    assert world.writes() == []
