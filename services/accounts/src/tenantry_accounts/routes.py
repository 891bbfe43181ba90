"""`/v1/users` over HTTP."""

from typing import Annotated, Any
from uuid import UUID

import uuid_utils.compat
from fastapi import APIRouter, Depends, Header, Response

from tenantry_accounts.models import User
from tenantry_accounts.repository import UserRepository
from tenantry_accounts.rules import etag_of
from tenantry_accounts.schemas import UserCreate, UserUpdate, UserView
from tenantry_accounts.service import UserService
from tenantry_kit.dependencies import ComponentsDep, TenancySessionDep, page_request, requires
from tenantry_kit.pagination import Page, PageRequest, link_to_next

USERS = "users"
READ = Depends(requires("users:read"))
WRITE = Depends(requires("users:write"))

_TEXT = {"schema": {"type": "string"}}
_ETAG = {"ETag": _TEXT | {"description": "The version of the user, for `If-Match`."}}
_LOCATION = {"Location": _TEXT | {"description": "The path of the user."}}
_LINK = {"Link": _TEXT | {"description": 'The next page (RFC 8288, `rel="next"`); absent on the last one.'}}


def _answer(status: int, description: str, **headers: object) -> dict[int | str, dict[str, Any]]:
    """Describe a success in OpenAPI, with its headers."""
    return {status: {"description": description, "headers": headers}}


router = APIRouter(prefix="/v1/users", tags=["users"])


async def user_service(kit: ComponentsDep, session: TenancySessionDep) -> UserService:
    """Compose the service of this request."""
    return UserService(UserRepository(session), now=kit.now, new_id=uuid_utils.compat.uuid7)


UserServiceDep = Annotated[UserService, Depends(user_service)]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="The `ETag` that was read: the change is made only if it still holds."),
]


@router.post(
    "",
    status_code=201,
    operation_id="create_user",
    dependencies=[WRITE],
    responses=_answer(201, "The user is made.", **_LOCATION, **_ETAG),
)
async def create_user(wanted: UserCreate, users: UserServiceDep, response: Response) -> UserView:
    """Make a user."""
    user = await users.create(wanted)
    response.headers["Location"] = f"{router.prefix}/{user.id}"
    return _viewed(user, response)


@router.get("", operation_id="list_users", dependencies=[READ], responses=_answer(200, "One page.", **_LINK))
async def list_users(
    page: Annotated[PageRequest, Depends(page_request(USERS))],
    users: UserServiceDep,
    kit: ComponentsDep,
    session: TenancySessionDep,
    response: Response,
) -> Page[UserView]:
    """List the tenant's users, oldest first. The `Link` header leads to the next page."""
    found = await users.list(page)
    cursor = None
    if found.next_after is not None:
        cursor = kit.cursors.sign(found.next_after, USERS, tenant_id=session.scope.tenant_id)
        response.headers["Link"] = link_to_next(router.prefix, limit=page.limit, cursor=cursor)
    return Page(items=[UserView.model_validate(user) for user in found.users], next_cursor=cursor)


@router.get("/{user_id}", operation_id="get_user", dependencies=[READ], responses=_answer(200, "The user.", **_ETAG))
async def get_user(user_id: UUID, users: UserServiceDep, response: Response) -> UserView:
    """Read a user."""
    return _viewed(await users.get(user_id), response)


@router.patch(
    "/{user_id}",
    operation_id="update_user",
    dependencies=[WRITE],
    responses=_answer(200, "The user as it is now.", **_ETAG),
)
async def update_user(
    user_id: UUID, update: UserUpdate, users: UserServiceDep, response: Response, if_match: IfMatch = None
) -> UserView:
    """Change a user: the fields that are sent."""
    return _viewed(await users.change(user_id, update, if_match=if_match), response)


@router.delete(
    "/{user_id}",
    status_code=204,
    operation_id="delete_user",
    dependencies=[WRITE],
    responses=_answer(204, "The user is gone."),
)
async def delete_user(user_id: UUID, users: UserServiceDep, if_match: IfMatch = None) -> None:
    """Delete a user for good."""
    await users.delete(user_id, if_match=if_match)


def _viewed(user: User, response: Response) -> UserView:
    response.headers["ETag"] = etag_of(user.version)
    return UserView.model_validate(user)
