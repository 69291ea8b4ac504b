"""A SOCKS5 proxy without a login, as ``ssh -D`` gives one; it counts what it connects."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        client: socket.socket = self.request
        methods = client.recv(2)[1]
        client.recv(methods)
        client.sendall(b"\5\0")
        _, _, _, kind = client.recv(4)
        host = client.recv(client.recv(1)[0]).decode() if kind == 3 else socket.inet_ntoa(client.recv(4))
        port = int.from_bytes(client.recv(2))
        self.server.asked.append(host)  # type: ignore[attr-defined]
        with socket.create_connection((host, port)) as there:
            client.sendall(b"\5\0\0\1" + bytes(6))
            back = threading.Thread(target=self._copy, args=(there, client))
            back.start()
            self._copy(client, there)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def socks_proxy() -> Iterator[tuple[int, list[str]]]:
    """The port of a running proxy, and the hosts that it was asked for."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()
            server.block_on_close = False
