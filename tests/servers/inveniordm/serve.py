"""Serve InvenioRDM's interface below ``/api``. Run inside the environment of the server: ``python serve.py PORT LOG``.

A line for each request goes to the log: method, path, status. ``POST /tests/delete/<id>`` takes a version away, as an
administrator does.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from datacite.request import DataCiteRequest
from flask import Flask
from invenio_access.permissions import system_identity
from invenio_app.factory import create_api
from invenio_rdm_records.proxies import current_rdm_records_service as records
from requests import Response
from waitress import serve
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

Start = Callable[..., Any]


def told_nobody(self: object, url: str, method: str = "GET", **more: object) -> Response:
    """What DataCite would answer; it is not asked."""
    answer = Response()
    answer.status_code = {"DELETE": 204, "POST": 201}.get(method, 200)
    answer._content = b'{"data": {"id": "10.5072/told-nobody", "attributes": {"url": ""}}}'
    return answer


class Logged:
    """Writes a line for each answer."""

    def __init__(self, app: Callable[[dict[str, Any], Start], Iterable[bytes]], log: str) -> None:
        self.app = app
        self.log = open(log, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the server runs

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = quote(environ["PATH_INFO"].encode("latin-1"))

        def started(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            self.log.write(f"{environ['REQUEST_METHOD']} {path} {status[:3]}\n")
            return start(status, headers, *more)

        return self.app(environ, started)


def administration(api: Flask) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        record = environ["PATH_INFO"].removeprefix("/delete/")
        with api.app_context():
            records.delete_record(system_identity, record, {"removal_reason": {"id": "retracted"}, "note": "gone"})
        start("204 No Content", [])
        return [b""]

    return answer


if __name__ == "__main__":
    place = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)  # who asks now waits until all is loaded
    DataCiteRequest.request = told_nobody
    api = create_api()
    app = DispatcherMiddleware(NotFound(), {"/api": api, "/tests": administration(api)})
    serve(Logged(app, sys.argv[2]), sockets=[place], threads=8, max_request_body_size=1 << 40)
