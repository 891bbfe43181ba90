"""The application factory of every service: one order of layers, one way to answer errors, the same probes."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse

from tenantry_kit.bodies import BodyLimits
from tenantry_kit.components import Components
from tenantry_kit.observing import Observing
from tenantry_kit.openapi_page import add_openapi_page
from tenantry_kit.problems import (
    INTERNAL,
    INVALID_REQUEST,
    KIT_PROBLEMS,
    MALFORMED_BODY,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNNAMED,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    ProblemType,
    describe,
    problem_response,
)

MAX_ERRORS = 20
MAX_ERROR_TEXT = 200
"""A refused request is not answered with more than it sent."""


class FieldError(BaseModel):
    """One place of a request that does not fit the schema."""

    location: str = Field(description="Where, from `body`, `query`, `path` or `header` on.", examples=["body.email"])
    detail: str = Field(description="What is wrong there.")


class ProblemBody(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="`/problems/<name>`; that path tells more.", examples=["/problems/not-found"])
    title: str = Field(description="What went wrong, the same for every problem of the type.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(default="", description="What went wrong this time; absent when the title says it all.")
    request_id: str = Field(description="The id of the request in the service's logs.")
    errors: list[FieldError] = Field(default=[], description="Each place that is wrong; only in `invalid-request`.")


class ServiceApp(FastAPI):
    """An application whose OpenAPI knows that every error is a problem."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs") | {"Problem": problem}
        return document


_PROBLEM_ANSWER: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def create_app(
    components: Components,
    routers: Iterable[APIRouter],
    *,
    title: str,
    version: str,
    description: str,
    problems: Sequence[ProblemType] = (),
) -> FastAPI:
    """Return the application of a service. `problems` are the types that it adds to the kit's."""
    settings = components.settings

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await components.databases.close()

    app = ServiceApp(
        title=title,
        version=version,
        description=description,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect would name the scheme and host as the service sees them: behind TLS it would lead out of it.
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(Observing, logger=components.logger, metrics=components.metrics),
            Middleware(BodyLimits, max_bytes=settings.body_limit, max_depth=settings.body_depth_limit),
        ],
        responses=_PROBLEM_ANSWER,
    )
    app.state.components = components
    for router in routers:
        app.include_router(router)
    _add_probes(app, components)
    _add_problem_pages(app, [*KIT_PROBLEMS, *problems])
    _add_error_answers(app, components)
    add_openapi_page(app)
    return app


def _add_probes(app: FastAPI, components: Components) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        readiness = await components.health.check()
        body = {"ready": readiness.ready, "registry": readiness.registry, "servers": readiness.servers}
        return JSONResponse(body, 200 if readiness.ready else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(components.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_problem_pages(app: FastAPI, problems: Sequence[ProblemType]) -> None:
    pages = {kind.name: describe(kind) for kind in problems}

    @app.get("/problems/{name}", include_in_schema=False)
    async def problem_page(name: str) -> PlainTextResponse:
        if name not in pages:
            raise Problem(NOT_FOUND)
        return PlainTextResponse(pages[name], media_type="text/markdown")


def _add_error_answers(app: FastAPI, components: Components) -> None:
    async def answer_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101  # Starlette dispatches by type
        if error.type.status >= 500:
            components.logger.error("problem", type=error.type.name, cause=repr(error.__cause__))
        return problem_response(error, request.state.request_id)

    async def answer_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return problem_response(_validation_problem(request, error), request.state.request_id)

    async def answer_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return problem_response(_http_problem(request, error), request.state.request_id)

    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(RequestValidationError, answer_validation)
    app.add_exception_handler(HTTPException, answer_http)


def _validation_problem(request: Request, error: RequestValidationError) -> Problem:
    """Name the places, never the values: they may be secrets, or large."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return Problem(MALFORMED_BODY, "The body is not JSON.")
    if any(tuple(item["loc"]) == ("body",) and item["type"] != "missing" for item in found) and not _sends_json(
        request
    ):
        return Problem(UNSUPPORTED_MEDIA_TYPE)
    errors = [
        {
            "location": ".".join(str(part) for part in item["loc"])[:MAX_ERROR_TEXT],
            "detail": item["msg"][:MAX_ERROR_TEXT],
        }
        for item in found[:MAX_ERRORS]
    ]
    return Problem(INVALID_REQUEST, extra={"errors": errors})


def _sends_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _http_problem(request: Request, error: HTTPException) -> Problem:
    """Return the problem for what Starlette and FastAPI raise themselves."""
    known = {400: MALFORMED_BODY, 404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 500: INTERNAL}
    phrase = HTTPStatus(error.status_code).phrase
    unnamed = ProblemType(UNNAMED, error.status_code, phrase, phrase, "")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers |= _allowed(request)
    return Problem(known.get(error.status_code, unnamed), headers=headers)


def _allowed(request: Request) -> dict[str, str]:
    """Return `Allow` with every method of the path: Starlette names those of the first route that has the path."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = request.app.openapi()["paths"].get(path, {})
    return {"Allow": ", ".join(sorted(method.upper() for method in methods))} if methods else {}
