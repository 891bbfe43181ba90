"""The process of a service: uvicorn, its logs among ours, and signals.

SIGTERM stops listening, lets requests in flight finish, closes the connections and exits 0. SIGUSR1 logs everything
from debug on, SIGUSR2 goes back to the configured level.
"""

import logging
import signal
from io import TextIOWrapper
from typing import TextIO

import uvicorn
from fastapi import FastAPI

from tenantry_kit.components import Components
from tenantry_kit.logs import StandardLibraryLines


def serve(app: FastAPI, components: Components) -> int:
    """Serve the application until SIGTERM or SIGINT. Return the process's exit code."""
    settings = components.settings
    capture_library_lines(components)
    follow_level_signals(components)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    server = uvicorn.Server(config)
    # uvicorn handles these signals while it serves, and raises them once more when it has ended: that one must not
    # become the exit code. One that comes before it serves is not lost either.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run()
    return 0 if server.started else 1


def line_output(stream: TextIO) -> TextIO:
    """Return the stream, so that every text can be written to it whatever the locale says."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def capture_library_lines(components: Components) -> None:
    """Send what libraries log through our logger."""
    root = logging.getLogger()
    root.handlers[:] = [StandardLibraryLines(components.logger)]
    root.setLevel(logging.INFO)
    # Its pool logs each connection that we close on purpose.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.ERROR)


def follow_level_signals(components: Components) -> None:
    """Let two signals change the log level of this process."""
    threshold, configured = components.threshold, components.settings.log_level

    def set_level(level: str) -> None:
        threshold.level = level
        components.logger.warning("log_level_changed", level=level)

    signal.signal(signal.SIGUSR1, lambda *_: set_level("debug"))
    signal.signal(signal.SIGUSR2, lambda *_: set_level(configured))
