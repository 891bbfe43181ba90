"""Users in the database. The only module of the service that knows SQLAlchemy's queries."""

from collections.abc import Sequence
from uuid import UUID

import psycopg
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tenantry_accounts.errors import EMAIL_TAKEN
from tenantry_accounts.models import User
from tenantry_kit.problems import Problem
from tenantry_kit.tenancy import TenancySession

EMAIL_INDEX = "users_email_key"


class UserRepository:
    """The users of one tenant: the session's. It cannot be made without one."""

    def __init__(self, session: TenancySession) -> None:
        self._orm = session.orm

    async def find(self, user_id: UUID, *, for_change: bool = False) -> User | None:
        """Return the user, or None when the tenant has none of this id. `for_change` locks the row."""
        query = select(User).where(User.id == user_id)
        return (await self._orm.scalars(query.with_for_update() if for_change else query)).one_or_none()

    async def list_after(self, after: UUID | None, limit: int) -> Sequence[User]:
        """Return at most `limit` users in the order of their ids, from behind `after` on."""
        query = select(User).order_by(User.id).limit(limit)
        return (await self._orm.scalars(query if after is None else query.where(User.id > after))).all()

    async def save(self, user: User) -> None:
        """Write a new or changed user. Raises Problem(EMAIL_TAKEN)."""
        self._orm.add(user)
        try:
            await self._orm.flush()
        except IntegrityError as error:
            if isinstance(error.orig, psycopg.Error) and error.orig.diag.constraint_name == EMAIL_INDEX:
                raise Problem(EMAIL_TAKEN) from error
            raise

    async def remove(self, user: User) -> None:
        """Delete a user that `find` returned."""
        await self._orm.delete(user)
