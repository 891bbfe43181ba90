"""How the API server's client takes each answer, also those that a real server gives only in trouble."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tenantry_operator.clients import kube as kube_module
from tenantry_operator.clients.kube import (
    DEPLOYMENTS,
    SECRETS,
    TENANTS,
    AlreadyExists,
    ApiError,
    ApiUnreachable,
    Configuration,
    ConfigurationError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Kube,
    NotFound,
    load_configuration,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str = "said", **headers: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(body, status=code, headers=headers)


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[Configuration]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield configuration
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (500, "InternalError", ApiError),
        (503, "ServiceUnavailable", ApiError),
    ],
)
async def test_each_refusal_is_a_type_with_the_servers_words(code: int, reason: str, expected: type[ApiError]) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return status(code, reason, "because")

    async with server(refuse) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiError, match="because") as caught:
            await kube.create(TENANTS, {"metadata": {"name": "acme"}})
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.reason) == (code, reason)


async def test_an_unknown_field_in_an_apply_is_invalid_though_the_server_says_500() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return status(
            500, "InternalError", "failed to create typed patch object: .spec.x: field not declared in schema"
        )

    async with server(refuse) as configuration, Kube(configuration) as kube:
        with pytest.raises(Invalid, match="field not declared"):
            await kube.apply(DEPLOYMENTS, {"metadata": {"name": "a", "namespace": "b"}})


async def test_an_answer_that_is_no_json_is_still_an_error_of_ours() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway")

    async with server(refuse) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiError, match="bad gateway"):
            await kube.list(TENANTS)


async def test_a_server_that_is_too_busy_is_asked_again_after_the_time_it_says() -> None:
    answers = [status(429, "TooManyRequests", **{"Retry-After": "0.05"}), web.json_response({"metadata": {}})]

    async def busy(_: web.Request) -> web.Response:
        return answers.pop(0)

    async with server(busy) as configuration, Kube(configuration) as kube:
        assert await kube.create(TENANTS, {"metadata": {"name": "acme"}}) == {"metadata": {}}
    assert not answers


async def test_a_long_wait_is_left_to_the_queue() -> None:
    async def busy(_: web.Request) -> web.Response:
        return status(429, "TooManyRequests", **{"Retry-After": "60"})

    async with server(busy) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiError) as caught:
            await kube.list(TENANTS)
    assert caught.value.retry_after == 60


async def test_a_server_that_stays_busy_is_not_asked_forever() -> None:
    asked = 0

    async def busy(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return status(429, "TooManyRequests", **{"Retry-After": "0.01"})

    async with server(busy) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiError):
            await kube.list(TENANTS)
    assert asked == kube_module.ATTEMPTS


@pytest.mark.parametrize("code", [409, 500, 503])
async def test_a_write_that_may_have_been_done_is_not_repeated(code: int) -> None:
    asked = 0

    async def refuse(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return status(code, "InternalError")

    async with server(refuse) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiError):
            await kube.create(TENANTS, {"metadata": {"name": "acme"}})
    assert asked == 1


async def test_nothing_listens_there() -> None:
    configuration = Configuration(host="http://127.0.0.1:1")
    async with Kube(configuration) as kube:
        with pytest.raises(ApiUnreachable) as caught:
            await kube.get(TENANTS, "acme")
    assert caught.value.transient


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        # The server waits for its handlers at the end: this one goes with its client.
        while request.transport is not None:
            await kube_module.asyncio.sleep(0.01)
        return response

    async with server(hang) as configuration, Kube(configuration, timeout=0.2) as kube:
        with pytest.raises(ApiUnreachable, match="in time"):
            await kube.list(TENANTS)


async def test_a_guard_prevents_every_write_and_no_read() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.json_response({"items": [], "metadata": {"name": "acme"}})

    class NotNow(Exception):
        pass

    def guard() -> None:
        raise NotNow

    async with server(answer) as configuration, Kube(configuration, guard=guard) as kube:
        await kube.get(TENANTS, "acme")
        await kube.list(TENANTS)
        body = {"metadata": {"name": "acme", "namespace": "n"}}
        writes: list[Callable[[], Awaitable[Any]]] = [
            lambda: kube.create(SECRETS, body),
            lambda: kube.replace(SECRETS, body),
            lambda: kube.apply(SECRETS, body),
            lambda: kube.json_patch(TENANTS, "acme", []),
            lambda: kube.merge_patch(TENANTS, "acme", {}),
            lambda: kube.scale(DEPLOYMENTS, "acme", 1, namespace="n"),
            lambda: kube.delete(TENANTS, "acme"),
        ]
        for write in writes:
            with pytest.raises(NotNow):
                await write()
    assert seen == ["GET", "GET"]


async def test_an_event_that_is_refused_disturbs_nobody() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return status(403, "Forbidden")

    async with server(refuse) as configuration, Kube(configuration) as kube:
        await kube.event(about={"metadata": {"name": "acme"}}, type="Normal", reason="R", message="m", action="A")


async def test_the_client_reads_no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    kubeconfig = tmp_path / "kubeconfig"
    authorizations: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        authorizations.append(request.headers.get("Authorization"))
        return web.json_response({"items": []})

    async with server(answer) as configuration:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": configuration.host}}],
            "users": [{"name": "u", "user": {"token": "t0ken"}}],
        }
        kubeconfig.write_text(json.dumps(document))
        async with Kube(await load_configuration(kubeconfig)) as kube:
            await kube.list(TENANTS)
    assert authorizations == ["Bearer t0ken"]


async def test_a_kubeconfig_that_is_absent_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent"):
        await load_configuration(tmp_path / "absent")
    broken = tmp_path / "broken"
    broken.write_text("kind: Config\n")
    with pytest.raises(ConfigurationError, match="broken"):
        await load_configuration(broken)


@pytest.mark.parametrize("content", [b'{"items": [{"met', b"[]", b"\xff{}"])
async def test_an_answer_that_was_cut_off_is_none(content: bytes) -> None:
    """It was found by `make prove`: what is no JSON ended the operator."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type="application/json")

    async with server(handler) as configuration, Kube(configuration) as kube:
        with pytest.raises(ApiUnreachable, match=r"no JSON|no object"):
            await kube.list(TENANTS)


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_list_comes_in_pages_and_at_once_when_the_server_has_given_up_its_place(given_up: bool) -> None:
    asked: list[dict[str, str]] = []

    async def paged(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        if "continue" in request.query:
            if given_up:
                return status(410, "Expired")
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]})
        following = {"continue": "there"} if "limit" in request.query else {}
        names = ["a"] if following else ["a", "b"]
        items = [{"metadata": {"name": name}} for name in names]
        return web.json_response({"metadata": {"resourceVersion": "7", **following}, "items": items})

    async with server(paged) as configuration, Kube(configuration) as kube:
        found = await kube.list(TENANTS, labels={"a": "b"})
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [("Tenant", "a"), ("Tenant", "b")]
    limit = {"labelSelector": "a=b", "limit": "500"}
    assert asked == [limit, {**limit, "continue": "there"}, *([{"labelSelector": "a=b"}] if given_up else [])]
