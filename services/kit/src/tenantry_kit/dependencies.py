"""What a route asks for, injected by FastAPI from the components of its application."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Header, Query, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from tenantry_kit.components import Components
from tenantry_kit.correlation import current
from tenantry_kit.keys import SCOPES
from tenantry_kit.pagination import DEFAULT_LIMIT, Limit, PageRequest
from tenantry_kit.principal import Principal, unauthenticated
from tenantry_kit.problems import TENANT_UNAVAILABLE, Problem
from tenantry_kit.tenancy import TenancySession, TenantReplaced

# It only describes the header in OpenAPI; the authenticator reads and judges it.
_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="tk_<environment>_<key>",
    description="An API key of the tenant, made by `tenantry tenant create-key NAME`.",
    auto_error=False,
)
TenantHeader = Annotated[
    str | None,
    Header(alias="X-Tenant-ID", description="The name of the key's tenant. A request that names another is refused."),
]


async def components(request: Request) -> Components:
    """Return the components that the application was composed of."""
    return cast("Components", request.app.state.components)


ComponentsDep = Annotated[Components, Depends(components)]


async def principal(
    request: Request,
    kit: ComponentsDep,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    _tenant: TenantHeader = None,
) -> Principal:
    """Return who makes the request, and put it on the request's log lines."""
    authorization, tenant = _whole(request, "authorization"), _whole(request, "x-tenant-id")
    found = await kit.authenticator.authenticate(authorization, tenant)
    ids = current()
    if ids is not None:
        ids.tenant, ids.principal = found.scope.name, found.id
        # Machines do not log in: the key itself is their session.
        ids.session_id = ids.session_id or f"key-{found.id}"
    return found


def _whole(request: Request, header: str) -> str | None:
    """Return every line of a header as one text (RFC 9110, 5.3), so that a second one cannot contradict unseen."""
    return ", ".join(request.headers.getlist(header)) if header in request.headers else None


PrincipalDep = Annotated[Principal, Depends(principal)]


def requires(scope: str) -> Callable[[Principal], Awaitable[None]]:
    """Return a dependency that refuses a principal without this scope, which must be one that keys can have."""
    if scope not in SCOPES:
        raise ValueError(f"{scope} is not in tenantry_kit.keys.SCOPES, so that no key could be made for it")

    async def check(who: PrincipalDep) -> None:
        who.require(scope)

    return check


async def unit_of_work(request: Request, kit: ComponentsDep, who: PrincipalDep) -> AsyncIterator[TenancySession]:
    """Give the request's one transaction, in the principal's tenant."""
    try:
        async with kit.units.begin(who.scope) as session:
            yield session
    except TenantReplaced as error:
        await _ask_again(request, kit, who)
        raise unauthenticated() from error
    except Problem as problem:
        if problem.type is TENANT_UNAVAILABLE:
            await _ask_again(request, kit, who)
        raise


async def _ask_again(request: Request, kit: Components, who: Principal) -> None:
    """Raise what the registry says now of a tenant that was not as it was remembered: released, suspended, gone."""
    kit.registry.forget(who.id)
    await kit.authenticator.authenticate(_whole(request, "authorization"), None)


# Function scope: the transaction is committed before the response is sent, so a failed COMMIT is no 2xx.
TenancySessionDep = Annotated[TenancySession, Depends(unit_of_work, scope="function")]


def page_request(list_name: str) -> Callable[..., Awaitable[PageRequest]]:
    """Return a dependency that reads `limit` and `cursor` of this list."""

    async def read(
        kit: ComponentsDep,
        who: PrincipalDep,
        limit: Annotated[Limit, Query(description="Rows in a page, at most.")] = DEFAULT_LIMIT,
        cursor: Annotated[
            str | None,
            Query(max_length=200, description="`next_cursor` of the page before; absent for the first page."),
        ] = None,
    ) -> PageRequest:
        if cursor is None:
            return PageRequest(limit, None)
        return PageRequest(limit, kit.cursors.read(cursor, list_name, tenant_id=who.scope.tenant_id))

    return read
