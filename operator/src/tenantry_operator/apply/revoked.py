"""Looks whether a membership is gone that was taken back."""

from typing import Any

from psycopg import AsyncConnection, sql

from tenantry_operator.apply.tenant_sql import CannotRevoke
from tenantry_operator.model.tenant import Membership


async def see_revoked(connection: AsyncConnection[Any], membership: Membership) -> None:
    """Raise CannotRevoke when it holds still: since Postgres 16, to revoke what a superuser gave only warns."""
    cursor = await connection.execute(
        "SELECT pg_get_userbyid(grantor)::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
        " JOIN pg_roles o ON o.oid = m.member WHERE r.rolname = %s AND o.rolname = %s ORDER BY 1 LIMIT 1",
        (membership.role, membership.member),
    )
    row = await cursor.fetchone()
    if row is not None:
        statement = sql.SQL("REVOKE {} FROM {} GRANTED BY {} CASCADE").format(
            sql.Identifier(membership.role), sql.Identifier(membership.member), sql.Identifier(str(row[0]))
        )
        raise CannotRevoke(
            f"{membership.member} is a member of {membership.role} by a grant of {row[0]}, which only a superuser can "
            f"take back: {statement.as_string(connection)}"
        )
