"""What a Tenant asks of its database: limits and settings of its login, extensions, and a role that only reads."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tenantry_crds.base import Part

# The largest value of each unit stays below the 2^31 ms that Postgres can hold.
TIMEOUT = r"^(0|[1-9][0-9]{0,8}ms|[1-9][0-9]{0,5}s|[1-9][0-9]{0,3}min|[1-9][0-9]?h)$"
# Postgres refuses less than 64kB.
MEMORY = r"^((6[4-9]|[7-9][0-9]|[1-9][0-9]{2,6})kB|[1-9][0-9]{0,3}MB|[1-9][0-9]?GB)$"
# As Postgres ships them: uuid-ossp has a hyphen.
EXTENSION = r"^[a-z][a-z0-9_-]{0,62}$"


class ReadOnlyRole(StrEnum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class TenantSettings(Part):
    """Postgres settings of the tenant's roles in its database; the keys are Postgres' own."""

    statement_timeout: Annotated[
        str | None,
        Field(
            alias="statement_timeout",
            max_length=12,
            pattern=TIMEOUT,
            description="Longest run of one statement, as in 30s; 0 for no limit. Absent: 30s.",
        ),
    ] = None
    idle_in_transaction_session_timeout: Annotated[
        str | None,
        Field(
            alias="idle_in_transaction_session_timeout",
            max_length=12,
            pattern=TIMEOUT,
            description="Longest idle time inside a transaction before the session is ended; 0 for no limit. "
            "Absent: 60s.",
        ),
    ] = None
    lock_timeout: Annotated[
        str | None,
        Field(
            alias="lock_timeout",
            max_length=12,
            pattern=TIMEOUT,
            description="Longest wait for a lock; 0 for no limit. Absent: 5s.",
        ),
    ] = None
    work_mem: Annotated[
        str | None,
        Field(
            alias="work_mem",
            max_length=12,
            pattern=MEMORY,
            description="Memory of one sort or hash before it spills to disk, as in 8MB. Absent: the server's own.",
        ),
    ] = None


class DatabaseExtension(Part):
    """An extension of Postgres."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern=EXTENSION,
            description="Its name, as in pgcrypto. It has to be one that Postgres trusts, or be there already: the "
            "operator is no superuser. The version is the one that the server makes by default.",
        ),
    ]


class TenantDatabase(Part):
    """Limits and settings of the tenant's login, extensions, and who else reads."""

    connection_limit: Annotated[
        int | None, Field(ge=1, le=1000, description="Connections that the login may hold at once. Absent: 20.")
    ] = None
    settings: Annotated[TenantSettings | None, Field(description="Postgres settings of the login in its database.")] = (
        None
    )
    read_only_role: Annotated[
        ReadOnlyRole | None,
        Field(
            description="Enabled: there is a role, t_<tenant>_ro, that nobody logs in as, and that may SELECT from "
            "every table, view and sequence of the tenant's own schema, and do nothing else. Grant it to a login of "
            "your own. Disabled drops it. Absent: Disabled."
        ),
    ] = None
    extensions: Annotated[
        tuple[DatabaseExtension, ...] | None,
        Field(
            max_length=16,
            description="Extensions of Postgres, in the schema extensions of the tenant's database. One that comes off "
            "the list is dropped under isolation Database, if nothing uses it; under Schema and Pooled, where tenants "
            "share them, none is ever dropped. Absent: none.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = None
