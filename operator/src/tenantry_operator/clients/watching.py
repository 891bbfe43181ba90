"""A session for watches that others run: kopf lists and follows by it."""

from asyncio import sslproto
from collections.abc import Callable, Collection
from typing import Any, Final

import aiohttp

from tenantry_operator.clients.connections import Connections, Transport
from tenantry_operator.clients.kube import METADATA_LIST, METADATA_WATCH, USER_AGENT, Configuration, RawObject

TLS_BUFFER: Final = 32 * 1024
"""Bytes that a TLS connection keeps for what arrives; a record has half as many at most. The loop's own 256 KiB are
more than an idle watch needs, and there is one for each resource type."""

Listed = Callable[[str, RawObject], None]


def watch_session(
    configuration: Configuration, connections: Connections, *, metadata_only: Collection[str], listed: Listed
) -> aiohttp.ClientSession:
    """Open a session for long-lived watches in the running loop; the caller closes it, and then the connections.

    Of resources whose plural is in ``metadata_only`` the server sends no more than the metadata. ``listed`` is given
    the plural and the answer of each listing before kopf is, and may take objects out of it.
    """

    async def prepare(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers["Authorization"] = token
        if request.url.name in metadata_only:
            request.headers["Accept"] = METADATA_WATCH if request.url.query.get("watch") else METADATA_LIST
        return await handler(request)

    class Answer(aiohttp.ClientResponse):
        async def json(self, **options: Any) -> Any:
            body = await super().json(**options)
            if isinstance(body, dict) and "items" in body:
                # An empty list of metadata comes as null, which kopf does not expect.
                body["items"] = body["items"] or []
                listed(self.url.name, body)
            return body

    small_tls_buffers()
    return aiohttp.ClientSession(
        connector=connections.connector(Transport(configuration).ssl_context, limit=0),
        middlewares=(prepare,),
        response_class=Answer,
        proxy=configuration.proxy,
        headers={"User-Agent": USER_AGENT},
    )


def small_tls_buffers() -> None:
    """Have each TLS connection that is opened from now on keep less."""
    sslproto.SSLProtocol.max_size = min(TLS_BUFFER, sslproto.SSLProtocol.max_size)
