"""What all stand-ins of providers share: a server on loopback, and answers that may be cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Server(ThreadingHTTPServer):
    """A server; ``stand_in`` is whose state its handlers change."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[Handler], stand_in: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.stand_in = stand_in
        self.url = f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked is gone: killed, or cut by a test."""
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def log_message(self, *args: object) -> None:
        pass

    def reset(self) -> None:
        """Cut the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer, unless whoever asked is gone."""
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


class StandIn:
    """A provider with one server; a context manager."""

    def __init__(self, handler: type[Handler]) -> None:
        self._server = Server(handler, self)
        self.url = f"{self._server.url}/"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop()
