"""The registry: which tenants there are and where, and whose an API key is. Read-only; answers are kept for 5 s."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantry_kit.databases import Databases, LoginMissing
from tenantry_kit.problems import DATABASE_UNAVAILABLE, Problem

CACHE_SECONDS = 5.0
CACHE_SIZE = 10_000

_FIND_KEY = text(
    """
    SELECT k.public_id, k.kind, k.secret_hash, k.scopes, k.expires_at, k.revoked_at,
           t.id, t.name, t.server, t.database, t.schema, t.state,
           t.service_login
      FROM tenantry.api_keys AS k JOIN tenantry.tenants AS t ON t.id = k.tenant_id
     WHERE k.public_id = :public_id
    """
)


_NUMBER = re.compile(r"_([1-9][0-9]{0,3})$")


def login_number(service_login: str) -> int:
    """Return which of the logins `tenantry_svc_<service>_<n>` a registry row names; of any other name, the first."""
    found = _NUMBER.search(service_login)
    return int(found[1]) if found else 1


@dataclass(frozen=True)
class TenantRecord:
    """One tenant and its place."""

    id: UUID
    name: str
    server: str
    database: str
    schema: str
    state: str
    login: int = 1
    """Which of each service's logins reaches the tenant."""


@dataclass(frozen=True)
class KeyRecord:
    """One API key as it is stored, and its tenant."""

    public_id: str
    kind: str
    secret_hash: bytes = field(repr=False)
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    tenant: TenantRecord


class Registry:
    """Looks keys up. A key that was not found is asked for again each time: it may be made at any moment."""

    def __init__(self, databases: Databases, server: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._databases = databases
        self.server = server
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()

    async def find_key(self, public_id: str) -> KeyRecord | None:
        """Return the key with this public id, at most 5 s old, or None.

        Raises Problem(DATABASE_UNAVAILABLE) when the registry does not answer.
        """
        moment, record = self._known.get(public_id, (0.0, None))
        if record is not None and self._monotonic() - moment < CACHE_SECONDS:
            return record
        record = await self._read_key(public_id)
        if record is None:
            self._known.pop(public_id, None)
        else:
            self._remember(record)
        return record

    def forget(self, public_id: str) -> None:
        """Ask for this key anew next time."""
        self._known.pop(public_id, None)

    def database(self) -> str:
        """Return the name of the registry's database. Raises Problem(DATABASE_UNAVAILABLE) while no Secret says it."""
        try:
            name = self._databases.login(self.server).registry_database
        except LoginMissing as error:
            raise Problem(DATABASE_UNAVAILABLE) from error
        if name is None:
            raise Problem(DATABASE_UNAVAILABLE)
        return name

    def _remember(self, record: KeyRecord) -> None:
        self._known[record.public_id] = (self._monotonic(), record)
        self._known.move_to_end(record.public_id)
        if len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)

    async def _read_key(self, public_id: str) -> KeyRecord | None:
        database = self.database()
        try:
            return await self._select_key(public_id, database)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise Problem(DATABASE_UNAVAILABLE) from error
        # The connection was dead, perhaps since a restart of the server; nothing was done on it, so ask once more.
        await self._databases.forget_idle(self.server, database)
        try:
            return await self._select_key(public_id, database)
        except DBAPIError as error:
            raise Problem(DATABASE_UNAVAILABLE) from error

    async def _select_key(self, public_id: str, database: str) -> KeyRecord | None:
        async with self._databases.connection(self.server, database) as connection:
            row = (await connection.execute(_FIND_KEY, {"public_id": public_id})).one_or_none()
        if row is None:
            return None
        return KeyRecord(
            public_id=row.public_id,
            kind=row.kind,
            secret_hash=bytes(row.secret_hash),
            scopes=frozenset(row.scopes or ()),
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            tenant=TenantRecord(
                row.id, row.name, row.server, row.database, row.schema, row.state, login_number(row.service_login)
            ),
        )
