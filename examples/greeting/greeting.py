"""Answers each GET with a greeting and the name of the pod that gave it. Needs nothing but Python."""

import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROBES = ("/livez", "/readyz")


class Greeter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        greeting = {"greeting": os.environ.get("GREETING", "Hello"), "pod": socket.gethostname()}
        body = json.dumps({"status": "ok"} if self.path in PROBES else greeting).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.path not in PROBES:
            super().log_request(code, size)


def main() -> None:
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Greeter)
    # shutdown() waits for the loop, so it must not be called from the loop's own thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
