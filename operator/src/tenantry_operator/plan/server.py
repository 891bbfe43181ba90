"""What to do for a database server before tenants come to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tenantry_crds.reasons import Reason
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.model.names import OWNER, SERVICES, TENANTS, login_number, service_login, service_secret
from tenantry_operator.model.server import DesiredServer, ObservedServer, ServerCatalogue, claim
from tenantry_operator.model.tenant import PUBLIC, Grant, Membership, Role
from tenantry_operator.plan.action import Action
from tenantry_operator.plan.actions import (
    AlterRole,
    CreateRole,
    GrantMembership,
    RevokeMembership,
    SetPassword,
    StripRole,
    WriteSecret,
)
from tenantry_operator.plan.database_actions import GrantOnDatabase, RevokeOnDatabase
from tenantry_operator.plan.tenant_secret import binding, usable_password

OLDEST: Final = 150000
MISSING: Final = "it is missing"
TOO_MUCH: Final = "nobody should hold it"


@dataclass(frozen=True, kw_only=True)
class ClaimServer(Action):
    """Say on the shared owner role whose server it is."""

    claim: str


@dataclass(frozen=True, kw_only=True)
class RevokeOnPublicSchema(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class CreateDatabase(Action):
    database: str


ServerPlanAction = (
    CreateRole
    | AlterRole
    | StripRole
    | SetPassword
    | ClaimServer
    | GrantMembership
    | RevokeMembership
    | GrantOnDatabase
    | RevokeOnDatabase
    | RevokeOnPublicSchema
    | CreateDatabase
    | WriteSecret
)


@dataclass(frozen=True)
class ServerRefusal:
    reason: Reason
    message: str
    privileges: bool = False
    """Whether a right of the operator's login is what lacks."""


@dataclass(frozen=True)
class ServerPlan:
    """Ordered actions, or a refusal, or neither."""

    actions: tuple[ServerPlanAction, ...] = ()
    refusal: ServerRefusal | None = None

    @property
    def is_empty(self) -> bool:
        return not self.actions and self.refusal is None


def plan_server(desired: DesiredServer, observed: ObservedServer) -> ServerPlan:
    """Decide what makes the server ready for tenants; playing the plan leaves an empty one."""
    refusal = _refusal(desired, observed)
    return ServerPlan(refusal=refusal) if refusal else ServerPlan(tuple(_actions(desired, observed)))


def _refusal(desired: DesiredServer, observed: ObservedServer) -> ServerRefusal | None:
    catalogue = observed.catalogue
    if catalogue.version < OLDEST:
        said = f"the server is Postgres {catalogue.version_text}; 15 is the oldest that can be used"
        return ServerRefusal(Reason.VERSION_UNSUPPORTED, said)
    if desired.registry_database == desired.place.database:
        said = (
            f"spec.database is {desired.place.database}, which is the registry's: no tenant's login may connect to "
            "that one. Name another database"
        )
        return ServerRefusal(Reason.INVALID_SPEC, said)
    if lacking := list(_lacking(desired, catalogue)):
        return ServerRefusal(Reason.PRIVILEGES_MISSING, f"run as an administrator: {'; '.join(lacking)}", True)
    return _not_ours(desired, observed) or _emptied(desired, observed)


def _lacking(desired: DesiredServer, catalogue: ServerCatalogue) -> Iterator[str]:
    """Name the statements that an administrator has to run."""
    me = f'"{catalogue.me}"'
    if catalogue.superuser:
        yield f"ALTER ROLE {me} NOSUPERUSER (a superuser would be stopped by nothing)"
    if not catalogue.owns_database:
        yield f'ALTER DATABASE "{desired.place.database}" OWNER TO {me}'
    if not catalogue.may_create_roles:
        yield f"ALTER ROLE {me} CREATEROLE"
    if not catalogue.may_end_sessions:
        yield f"GRANT pg_signal_backend TO {me}"
    registry = desired.registry_database
    if registry and registry not in catalogue.databases and not catalogue.may_create_databases:
        yield f'CREATE DATABASE "{registry}" OWNER {me}'


def _not_ours(desired: DesiredServer, observed: ObservedServer) -> ServerRefusal | None:
    catalogue = observed.catalogue
    free = (claim(desired.installation, ""), claim(desired.installation, desired.name))
    if OWNER in catalogue.roles and catalogue.claim not in free:
        said = (
            f"role {OWNER} of the server bears the mark {catalogue.claim!r}, and this is {free[1]!r} (installation/"
            "DatabaseServer). One server serves one DatabaseServer of one installation; if this one took over, "
            f"an administrator writes its mark: COMMENT ON ROLE {OWNER} IS '{free[1]}'"
        )
        return ServerRefusal(Reason.NOT_OURS, said)
    for secret in observed.secrets.values():
        if secret is not None and not secret.ours:
            said = f"Secret {secret.namespace}/{secret.name} exists and was not made for this DatabaseServer"
            return ServerRefusal(Reason.NOT_OURS, said)
    return None


def _emptied(desired: DesiredServer, observed: ObservedServer) -> ServerRefusal | None:
    """Refuse a server that was ready once and has nothing of ours now: it is probably another one."""
    ready_once = [secret.name for secret in observed.secrets.values() if secret is not None and secret.applied]
    if OWNER in observed.catalogue.roles or not ready_once:
        return None
    place = desired.place
    said = (
        f"server {place.host}:{place.port} has nothing of tenantry in it, but had once. Correct spec.host if it "
        f"points to the wrong server. To begin anew on this one, delete Secret {desired.namespace}/{ready_once[0]}"
    )
    return ServerRefusal(Reason.DATA_MISSING, said)


def _actions(desired: DesiredServer, observed: ObservedServer) -> Iterator[ServerPlanAction]:
    catalogue = observed.catalogue
    logins = [service_login(service, number) for service in SERVICES for number in numbers(desired, catalogue)]
    yield from _roles(desired, catalogue, logins)
    yield from _memberships(catalogue)
    yield from _database(catalogue, desired.place.database, {TENANTS, *logins})
    for grant in sorted(catalogue.public_grants):
        yield RevokeOnPublicSchema(grant=grant, reason="what lies in public would be seen by all tenants")
    registry = desired.registry_database
    if registry:
        if registry not in catalogue.databases:
            yield CreateDatabase(database=registry, reason="the registry of tenants lives in it")
        yield from _database(catalogue, registry, set(map(service_login, SERVICES)))
    for service in SERVICES:
        yield from _service(desired, observed, service)


def numbers(desired: DesiredServer, catalogue: ServerCatalogue) -> Sequence[int]:
    """Return the numbers of each service's logins once all is done. One that was made stays: it may have tenants."""
    made = [number for role in catalogue.roles if (number := login_number(role)) is not None]
    return range(1, max(desired.logins, *made, 1) + 1)


def _roles(desired: DesiredServer, catalogue: ServerCatalogue, logins: Sequence[str]) -> Iterator[ServerPlanAction]:
    for role in (OWNER, TENANTS):
        yield from _role(catalogue.roles.get(role), Role(role, 0))
    if catalogue.claim != claim(desired.installation, desired.name):
        mark = claim(desired.installation, desired.name)
        yield ClaimServer(claim=mark, reason="it says whose server it is")
    for login in logins:
        yield from _role(catalogue.roles.get(login), Role(login, 0, login=True, inherit=False))


def _role(there: Role | None, wanted: Role) -> Iterator[ServerPlanAction]:
    name, login, inherit = wanted.name, wanted.login, wanted.inherit
    if there is None:
        yield CreateRole(role=name, login=login, inherit=inherit, reason=MISSING)
        return
    if (there.login, there.inherit, there.connection_limit, there.expires) != (login, inherit, -1, False):
        yield AlterRole(role=name, login=login, inherit=inherit, connection_limit=-1, reason="it was changed")
    if there.elevated:
        yield StripRole(role=name, attributes=tuple(sorted(there.elevated)), reason=TOO_MUCH)


def _memberships(catalogue: ServerCatalogue) -> Iterator[ServerPlanAction]:
    """Only the operator makes things as the shared owner; whoever else belongs to it would own all tenants' tables."""
    wanted = Membership(OWNER, catalogue.me)
    for membership in sorted(catalogue.memberships):
        if (membership.role, membership.member) != (wanted.role, wanted.member):
            yield RevokeMembership(membership=membership, reason=TOO_MUCH)
    if not any((m.role, m.member) == (wanted.role, wanted.member) for m in catalogue.memberships):
        yield GrantMembership(membership=wanted, reason="the services' schemas are made as their owner")


def _database(catalogue: ServerCatalogue, database: str, grantees: set[str]) -> Iterator[ServerPlanAction]:
    """Who may connect: the services, and the tenants' group where tenants are. PUBLIC's rights are Postgres' own."""
    held = {grant for grant in catalogue.database_grants if grant.on == database}
    if database not in catalogue.databases:
        held = {Grant(database, PUBLIC, "CONNECT"), Grant(database, PUBLIC, "TEMPORARY")}
    too_much = {g for g in held if g.grantee == TENANTS and (g.privilege != "CONNECT" or TENANTS not in grantees)}
    for grant in sorted(too_much):
        yield RevokeOnDatabase(grant=grant, reason="every tenant of the server would have it")
    for grant in sorted(grant for grant in held if grant.grantee == PUBLIC):
        yield RevokeOnDatabase(grant=grant, reason="every role of the server would have it")
    for grantee in sorted(grantees):
        wanted = Grant(database, grantee, "CONNECT")
        if wanted not in held:
            yield GrantOnDatabase(grant=wanted, reason=MISSING)


def _service(desired: DesiredServer, observed: ObservedServer, service: str) -> Iterator[ServerPlanAction]:
    secret, roles = observed.secrets.get(service), observed.catalogue.roles
    marks = ((secret and secret.applied) or "").split()
    passwords: dict[int, str] = {}
    known = True
    for number in numbers(desired, observed.catalogue):
        name = service_login(service, number)
        login, password = roles.get(name), password_of(secret.data, number) if secret else None
        passwords[number] = password or ""
        if not (login and password and applied_mark(login.oid, password) in marks):
            known = False
            yield SetPassword(role=name, reason="its password is not known to be the Secret's")
    if secret is None or not known or secret.data != service_binding(desired, service, passwords):
        name, why = service_secret(service, desired.name), MISSING if secret is None else "it is not as it should be"
        yield WriteSecret(name=name, namespace=desired.namespace, observed=secret, reason=why)


def password_of(data: Mapping[str, str], number: int) -> str | None:
    """Return the password of a service's login in its Secret, unless nobody could log in with it."""
    return usable_password({"password": data.get(_key("password", number), "")})


def service_binding(desired: DesiredServer, service: str, passwords: Mapping[int, str]) -> dict[str, str]:
    """Return what a service needs to reach the tenants of a server, and the registry if it is there.

    The first login has the keys of a Service Binding, the second one `username-2` and `password-2`, and so on.
    """
    data = binding(desired.place, schema="", username=service_login(service), password=passwords.get(1, ""))
    del data["schema"]
    for number in sorted(passwords.keys() - {1}):
        data |= {_key("username", number): service_login(service, number), _key("password", number): passwords[number]}
    return data | ({"registry-database": desired.registry_database} if desired.registry_database else {})


def _key(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
