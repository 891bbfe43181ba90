"""What a MigrationRun asks for, and the fleet, as values of the model."""

from collections.abc import Iterable, Mapping
from uuid import NAMESPACE_URL, uuid5

from tenantry_crds import MigrationRun, absent
from tenantry_migrations import TENANT
from tenantry_operator.clients.kube import RawObject
from tenantry_operator.model.migration import LAST_WAVE, DesiredRun, Line, Member, Wave
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_operator.observe.migration import Placed
from tenantry_operator.plan.migration import digest_of


def desired_run(run: MigrationRun) -> DesiredRun:
    """Say what the run asks for, with all that it leaves out."""
    spec = run.spec
    return DesiredRun(
        to=spec.to,
        phase=spec.phase.value,
        waves=tuple(
            Wave(
                labels=None if wave.selector is None else frozenset(wave.selector.match_labels.items()),
                percent=wave.percent,
                max_parallel=absent.max_parallel(wave),
            )
            for wave in absent.waves(spec)
        ),
        failure_budget=absent.failure_budget(spec),
        dry_run=absent.is_dry_run(spec),
        lock_timeout=absent.migration_lock_timeout(spec),
    )


def tenant_line() -> Line:
    """Return the tenant history of this version."""
    return Line({step.revision: step.phase for step in TENANT.steps(None, TENANT.head)})


def plan_hash(to: str) -> str | None:
    """Return the digest of all SQL that leads to a revision; None when it is not known."""
    if to not in TENANT.revisions:
        return None
    return digest_of(text for step in TENANT.steps(None, to) for text in (step.revision, *step.statements))


def member(placed: Placed, version: str, body: RawObject | None) -> Member:
    """Join what the registry and the schema say with what the Tenant says; a stranger of its name says nothing."""
    if body is None or body["metadata"]["uid"] != placed.uid:
        body = {"metadata": {}, "spec": {}}
    said = body["spec"].get("migrations") or {}
    return Member(
        name=placed.name,
        id=placed.id,
        uid=placed.uid,
        server=placed.server,
        database=placed.database,
        version=version,
        copy=placed.version,
        labels=frozenset((body["metadata"].get("labels") or {}).items()),
        wave=said.get("wave"),
        hold=bool(said.get("hold")),
    )


def members(
    placed: Iterable[Placed], versions: Mapping[str, str], bodies: Mapping[str, RawObject]
) -> tuple[Member, ...]:
    """Return the tenants that have a schema. `versions` is what the schemas say, by the tenant's id.

    A tenant that is being made has no version yet. One that had a version and has none any more is not left out.
    """
    found = ((one, versions.get(one.id) or one.version) for one in placed)
    return tuple(member(one, version, bodies.get(one.name)) for one, version in found if version is not None)


def pool_member(server: str, database: str, version: str) -> Member:
    """Return a server's pool, which no wave but the last takes, and no Tenant holds."""
    name = f"{POOL_SCHEMA}/{server}"
    identity = str(uuid5(NAMESPACE_URL, name))
    return Member(name, identity, "", server, database, version, wave=LAST_WAVE, pooled=True)


def runs_before(run: MigrationRun, others: Iterable[MigrationRun]) -> tuple[MigrationRun, ...]:
    """Return the runs that are older, oldest first; those that change nothing do not count."""
    older = [one for one in others if not absent.is_dry_run(one.spec) and _age(one) < _age(run)]
    return tuple(sorted(older, key=_age))


def _age(run: MigrationRun) -> tuple[str, str]:
    created = run.metadata.creation_timestamp
    return (created.isoformat() if created else "", run.metadata.name)
