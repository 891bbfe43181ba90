"""What callers can do with users: the steps of each operation, without HTTP and without SQL."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenantry_accounts.models import User
from tenantry_accounts.repository import UserRepository
from tenantry_accounts.rules import changes_of, is_expected
from tenantry_accounts.schemas import UserCreate, UserUpdate
from tenantry_kit.pagination import PageRequest
from tenantry_kit.problems import NOT_FOUND, PRECONDITION_FAILED, Problem


@dataclass(frozen=True)
class UserPage:
    """The users of a page, and the id behind which the next one starts; None after the last."""

    users: tuple[User, ...]
    next_after: UUID | None


@dataclass(frozen=True)
class UserService:
    """Operations on the users of one tenant, in one unit of work."""

    users: UserRepository
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]

    async def create(self, wanted: UserCreate) -> User:
        """Make a user. Raises Problem(EMAIL_TAKEN)."""
        moment = self.now()
        user = User(
            id=self.new_id(),
            email=wanted.email,
            display_name=wanted.display_name,
            status="active",
            created_at=moment,
            updated_at=moment,
        )
        await self.users.save(user)
        return user

    async def get(self, user_id: UUID) -> User:
        """Return a user. Raises Problem(NOT_FOUND)."""
        return _found(await self.users.find(user_id))

    async def list(self, page: PageRequest) -> UserPage:
        """Return one page of users."""
        # One row more than asked for tells whether there is a next page.
        rows = await self.users.list_after(page.after, page.limit + 1)
        users = tuple(rows[: page.limit])
        return UserPage(users, users[-1].id if len(rows) > page.limit else None)

    async def change(self, user_id: UUID, update: UserUpdate, *, if_match: str | None) -> User:
        """Change a user. Raises Problem: NOT_FOUND, PRECONDITION_FAILED, EMAIL_TAKEN."""
        user = await self._expected(user_id, if_match)
        changes = {name: value for name, value in changes_of(update).items() if getattr(user, name) != value}
        if changes:
            for name, value in changes.items():
                setattr(user, name, value)
            user.updated_at = self.now()
            await self.users.save(user)
        return user

    async def delete(self, user_id: UUID, *, if_match: str | None) -> None:
        """Delete a user. Raises Problem: NOT_FOUND, PRECONDITION_FAILED."""
        await self.users.remove(await self._expected(user_id, if_match))

    async def _expected(self, user_id: UUID, if_match: str | None) -> User:
        user = _found(await self.users.find(user_id, for_change=True))
        if not is_expected(user.version, if_match):
            raise Problem(PRECONDITION_FAILED)
        return user


def _found(user: User | None) -> User:
    if user is None:
        raise Problem(NOT_FOUND)
    return user
