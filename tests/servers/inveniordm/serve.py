"""Serve InvenioRDM's interface below ``/api``. Run inside the environment of the server: ``python serve.py PORT``."""

from __future__ import annotations

import sys

from invenio_app.factory import create_api
from waitress import serve
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

if __name__ == "__main__":
    app = DispatcherMiddleware(NotFound(), {"/api": create_api()})
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=8, max_request_body_size=1 << 40)
