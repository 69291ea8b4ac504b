"""Requests and answers against OpenAPI descriptions: ours, and Figshare's own where ``DATAFERRY_SPECS`` has them."""

from __future__ import annotations

import functools
import json
import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Checker"]

_OURS = Path(__file__).parents[2] / "descriptions" / "figshare.yaml"
#: Of the interface as it is now, and not in the description of 2024.
_NEWER = ("/versions/", "/v2/file/download/", "/ndownloader/")


@functools.cache
def _descriptions() -> tuple[Any, dict[str, Any]]:
    """Ours, and theirs by the start of the paths."""
    import yaml
    from openapi_core import OpenAPI

    theirs: dict[str, Any] = {}
    specs = os.environ.get("DATAFERRY_SPECS")
    if specs:
        for prefix, name in (("/v2/", "articles-flow.openapi.json"), ("/upload/", "uploads.openapi.json")):
            theirs[prefix] = OpenAPI.from_dict(json.loads((Path(specs) / "figshare" / name).read_text()))
    return OpenAPI.from_dict(yaml.safe_load(_OURS.read_text())), theirs


class Checker:
    """Collects what does not fit a description."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._ours, self._theirs = _descriptions()

    def __call__(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        status: int,
        answered: Mapping[str, str],
        answer: bytes,
    ) -> None:
        """Check one exchange."""
        path, _, query = target.partition("?")
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._one(self._ours, "http://here", method, path, query, headers, body, status, answered, answer)
            for prefix, theirs in self._theirs.items():
                if path.startswith(prefix) and not any(newer in path for newer in _NEWER):
                    host = "https://api.figshare.com" if prefix == "/v2/" else "https://uploads.figshare.com"
                    # the description of 2024 says that PUT may also be sent as PATCH
                    word = "PUT" if method == "PATCH" else method
                    self._one(theirs, host, word, path, query, headers, body, status, answered, answer)

    def _one(
        self,
        api: Any,
        host: str,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        status: int,
        answered: Mapping[str, str],
        answer: bytes,
    ) -> None:
        from urllib.parse import parse_qsl

        from openapi_core.testing import MockRequest, MockResponse

        kind = headers.get("content-type", "application/json")
        asked = MockRequest(
            host, method.lower(), path, args=dict(parse_qsl(query)), headers=dict(headers), data=body, content_type=kind
        )
        told = MockResponse(answer, status, dict(answered), answered.get("Content-Type", "application/json"))
        try:
            if status not in {401, 403}:  # nobody checks what a stranger sends
                api.validate_request(asked)
            if status < 400 and (answer or status in {200, 201, 302}):
                api.validate_response(asked, told)
        except Exception as error:  # noqa: BLE001 - whatever does not fit is told at the end of the test
            wrong = getattr(error.__cause__, "schema_errors", None) or [error.__cause__ or error]
            why = "; ".join(f"{'/'.join(map(str, getattr(w, 'path', ())))}: {getattr(w, 'message', w)}" for w in wrong)
            self.problems.append(f"{method} {path} -> {status}: {type(error).__name__}: {why[-600:]}")
