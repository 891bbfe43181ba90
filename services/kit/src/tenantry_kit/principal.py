"""Who makes a request: a principal, found by the API key that the request carries."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tenantry_kit.keys import EVERY_SCOPE, ApiKey, MalformedKey, parse_key, secret_matches
from tenantry_kit.problems import (
    INSUFFICIENT_SCOPE,
    TENANT_MISMATCH,
    TENANT_SUSPENDED,
    TENANT_UNAVAILABLE,
    UNAUTHENTICATED,
    Problem,
)
from tenantry_kit.registry import KeyRecord, Registry, TenantRecord
from tenantry_kit.scope import TenantScope

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tenantry"'}


@dataclass(frozen=True)
class Principal:
    """Who makes the request, for which tenant, and with which scopes."""

    kind: Literal["tenant-key"]
    id: str
    scope: TenantScope
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise Problem(INSUFFICIENT_SCOPE) unless the principal has this scope."""
        if not self.scopes & {scope, EVERY_SCOPE}:
            raise Problem(INSUFFICIENT_SCOPE, extra={"required_scope": scope})


class Authenticator:
    """Turns the credentials of a request into a principal of one service."""

    def __init__(self, registry: Registry, *, service: str, environment: str, now: Callable[[], datetime]) -> None:
        self._registry = registry
        self._service = service
        self._environment = environment
        self._now = now

    async def authenticate(self, authorization: str | None, tenant_header: str | None) -> Principal:
        """Return the principal of a request with these headers.

        Raises Problem: UNAUTHENTICATED, TENANT_MISMATCH when the header names another tenant than the key's,
        TENANT_SUSPENDED, TENANT_UNAVAILABLE, or what the registry raises.
        """
        key = self._key(authorization)
        record = await self._registry.find_key(key.public_id)
        if record is None or not self._is_valid(key, record):
            raise unauthenticated()
        check_state(record.tenant)
        if tenant_header is not None and tenant_header != record.tenant.name:
            raise Problem(TENANT_MISMATCH)
        return Principal("tenant-key", record.public_id, self._scope(record.tenant), record.scopes)

    def _key(self, authorization: str | None) -> ApiKey:
        scheme, _, credentials = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthenticated()
        try:
            key = parse_key(credentials)
        except MalformedKey as error:
            raise unauthenticated() from error
        if key.environment != self._environment:
            raise unauthenticated()
        return key

    def _is_valid(self, key: ApiKey, record: KeyRecord) -> bool:
        if record.kind != "tenant" or not secret_matches(key.secret, record.secret_hash):
            return False
        return record.revoked_at is None and (record.expires_at is None or record.expires_at > self._now())

    def _scope(self, tenant: TenantRecord) -> TenantScope:
        return TenantScope(
            tenant_id=tenant.id,
            name=tenant.name,
            server=tenant.server,
            database=tenant.database,
            schema=tenant.schema,
            service=self._service,
            login=tenant.login,
        )


def unauthenticated() -> Problem:
    """Return the one answer to every kind of missing or wrong key."""
    return Problem(UNAUTHENTICATED, headers=CHALLENGE)


def check_state(tenant: TenantRecord) -> None:
    """Raise the problem that a tenant's state is for its callers; return for an active one."""
    if tenant.state in {"suspended", "archived"}:
        raise Problem(TENANT_SUSPENDED)
    if tenant.state == "provisioning":
        raise Problem(TENANT_UNAVAILABLE)
    if tenant.state != "active":
        raise unauthenticated()
