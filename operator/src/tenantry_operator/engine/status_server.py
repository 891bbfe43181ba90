"""``/healthz`` and ``/metrics`` on one port."""

from collections.abc import Callable

from aiohttp import web

from tenantry_operator.metrics import CONTENT_TYPE, Metrics

Problems = Callable[[], list[str]]


class StatusServer:
    """Serves until `close`. ``/healthz`` answers 200 while ``problems()`` is empty, else 503 with a line for each."""

    def __init__(self, metrics: Metrics, problems: Problems) -> None:
        self._metrics = metrics
        self._problems = problems
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; ``port`` 0 takes a free one, which `port` then tells. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._render)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def _render(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})
