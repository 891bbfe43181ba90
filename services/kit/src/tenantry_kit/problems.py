"""Errors over HTTP: RFC 9457 `application/problem+json`, from one table of problem types.

A service adds its own types in its `errors` module. `docs/reference/problems.md` is generated from the tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
UNNAMED = "about:blank"
"""The name of a problem that says no more than its HTTP status (RFC 9457, 4.2.1)."""


@dataclass(frozen=True)
class ProblemType:
    """One kind of error: its name in `/problems/<name>`, its HTTP status, and what a caller reads about it."""

    name: str
    status: int
    title: str
    meaning: str
    remedy: str
    retry_after: int | None = None
    """Seconds after which a retry makes sense; None when the same request would fail again."""

    @property
    def uri(self) -> str:
        """The problem's `type`, relative to the service that answers."""
        return self.name if self.name == UNNAMED else f"/problems/{self.name}"


@dataclass(eq=False)
class Problem(Exception):
    """An expected error, answered as its type says. `detail` and `extra` are sent to the caller: no secrets."""

    type: ProblemType
    detail: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


MALFORMED_BODY = ProblemType(
    "malformed-body",
    400,
    "The body is not acceptable JSON",
    "The body is no JSON text, or it nests deeper than the service reads.",
    "Send one JSON object in UTF-8; `detail` says what was met.",
)
INVALID_CURSOR = ProblemType(
    "invalid-cursor",
    400,
    "The cursor is not valid here",
    "The `cursor` was changed, belongs to another list or another tenant, or was signed with a key that is no longer"
    " used.",
    "Start the list anew without `cursor`, and pass on `next_cursor` as it came.",
)
UNAUTHENTICATED = ProblemType(
    "unauthenticated",
    401,
    "A valid API key is required",
    "There is no `Authorization: Bearer tk_…` header, or its key is mistyped, unknown, expired, revoked, of another"
    " environment, or its tenant is gone. Which of these is not told.",
    "Send a key of this environment; an administrator makes one with `tenantry tenant create-key NAME`.",
)
TENANT_MISMATCH = ProblemType(
    "tenant-mismatch",
    403,
    "X-Tenant-ID does not name the key's tenant",
    "The request names one tenant in `X-Tenant-ID`, and its key belongs to another. Whether the named tenant exists is"
    " not told.",
    "Leave the header out, or send the name of the key's own tenant.",
)
INSUFFICIENT_SCOPE = ProblemType(
    "insufficient-scope",
    403,
    "The key lacks a scope",
    "The key is valid, but its scopes do not cover this operation. `required_scope` names the one that is missing.",
    "Use a key with that scope.",
)
TENANT_SUSPENDED = ProblemType(
    "tenant-suspended",
    403,
    "The tenant is suspended",
    "The tenant exists, but its lifecycle is not Active: nobody reads or writes its data over this API.",
    "Ask the platform's administrators; the data is kept.",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "There is no such resource",
    "Nothing is at this path, or no row of the key's tenant has this id. An id of another tenant gets the same answer.",
    "Check the id, and the tenant of the key.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "The resource has no such method",
    "The path exists, but not with this HTTP method.",
    "The `Allow` header lists the methods that exist.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    412,
    "The resource has changed",
    "`If-Match` names a version that is no longer the current one.",
    "Read the resource again, apply the change to what is there now, and send its new `ETag`.",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large",
    413,
    "The body is too large",
    "The body is longer than the service reads; `limit` is in bytes.",
    "Send less at once.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "The body's media type is not supported",
    "A body is sent with a `Content-Type` that is not JSON, or with none.",
    "Send `Content-Type: application/json`.",
)
INVALID_REQUEST = ProblemType(
    "invalid-request",
    422,
    "The request does not fit the schema",
    "A field is missing, unknown, of the wrong type or out of bounds, or holds a control character. `errors` lists each"
    " place with what is wrong there.",
    "Correct the listed places; the schema is at `/docs`.",
)
INTERNAL = ProblemType(
    "internal",
    500,
    "The service failed",
    "An error that nobody foresaw. It is logged under the `request_id`.",
    "Report the `request_id`. Nothing of the request was stored, unless it was a repetition.",
)
DATABASE_UNAVAILABLE = ProblemType(
    "database-unavailable",
    503,
    "The database is not reachable",
    "The registry or the tenant's database server does not answer, or ended the work.",
    "Try again after `Retry-After` seconds.",
    retry_after=2,
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "The service is busy",
    "No database connection became free in time.",
    "Try again after `Retry-After` seconds.",
    retry_after=2,
)
TENANT_UNAVAILABLE = ProblemType(
    "tenant-unavailable",
    503,
    "The tenant is being set up",
    "The tenant is known, but its schema is not ready: it is being provisioned or repaired.",
    "Try again after `Retry-After` seconds; `kubectl get tenant` shows its conditions.",
    retry_after=5,
)

KIT_PROBLEMS = (
    MALFORMED_BODY,
    INVALID_CURSOR,
    UNAUTHENTICATED,
    TENANT_MISMATCH,
    INSUFFICIENT_SCOPE,
    TENANT_SUSPENDED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    PRECONDITION_FAILED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_REQUEST,
    INTERNAL,
    DATABASE_UNAVAILABLE,
    OVERLOADED,
    TENANT_UNAVAILABLE,
)
"""Every type that any service may answer with."""


def problem_response(problem: Problem, request_id: str | None = None) -> JSONResponse:
    """Return the response that a problem is."""
    kind = problem.type
    body: dict[str, object] = {"type": kind.uri, "title": kind.title, "status": kind.status}
    if problem.detail is not None:
        body["detail"] = problem.detail
    if request_id is not None:
        body["request_id"] = request_id
    headers = dict(problem.headers)
    if kind.retry_after is not None:
        headers.setdefault("Retry-After", str(kind.retry_after))
    return JSONResponse(body | dict(problem.extra), kind.status, headers, MEDIA_TYPE)


def problems_page(types: Iterable[ProblemType]) -> str:
    """Return the reference page of problem types in Markdown."""
    return "\n".join([_PAGE_HEAD, *(describe(kind) for kind in types)])


def describe(kind: ProblemType) -> str:
    """Return the section of one problem type in Markdown."""
    lines = [
        f"## {kind.name}",
        "",
        f"{kind.status} · {kind.title}",
        "",
        kind.meaning,
        "",
        f"**What to do:** {kind.remedy}",
    ]
    if kind.retry_after is not None:
        lines += ["", f"**Retry-After:** {kind.retry_after} seconds"]
    return "\n".join([*lines, ""])


_PAGE_HEAD = """\
# Problems

Every error of a service is `application/problem+json` (RFC 9457). `type` is one of the names below, as
`/problems/<name>`; the service that answers serves the section at that path. `request_id` is the id to look for in the
logs.

<!-- Generated from the tables in the code: python -m tenantry_accounts.reference -->
"""
