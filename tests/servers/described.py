"""Requests and answers of a stand-in, held against descriptions of the provider's interface (OpenAPI)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

#: A folder with the providers' own descriptions; the tests then hold to these as well.
SPECS = "DATAFERRY_SPECS"


@dataclass
class Exchange:
    """A request with its answer, as the provider's own server would see them."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes


@dataclass
class Description:
    """One description.

    ``partial`` is for one that does not describe all that the provider answers: what it leaves out is no violation.
    """

    path: Path
    told: dict[str, Any]
    partial: bool = False
    asked: Any = field(init=False)
    answered: Any = field(init=False)

    def __post_init__(self) -> None:
        from openapi_core import OpenAPI, V30RequestValidator, V30ResponseValidator

        spec = OpenAPI.from_dict(self.told).spec
        self.asked, self.answered = V30RequestValidator(spec), V30ResponseValidator(spec)

    def violations(self, exchange: Exchange) -> Iterator[str]:
        """What is wrong with a request or its answer."""
        from openapi_core.datatypes import RequestParameters
        from openapi_core.templating.media_types.exceptions import MediaTypeNotFound
        from openapi_core.templating.paths.exceptions import PathError
        from openapi_core.templating.responses.exceptions import ResponseNotFound
        from werkzeug.datastructures import Headers, ImmutableMultiDict

        parts = urlsplit(exchange.url)
        request = _Asked(
            host_url=f"{parts.scheme}://{parts.netloc}",
            path=parts.path,
            method=exchange.method.lower(),
            content_type=exchange.headers.get("Content-Type", "").partition(";")[0],
            body=exchange.body or None,
            parameters=RequestParameters(
                query=ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True)),
                header=Headers(list(exchange.headers.items())),
            ),
        )
        answer = _Answered(
            data=exchange.answer,
            status_code=exchange.status,
            content_type=exchange.answer_headers.get("Content-Type", "").partition(";")[0],
            headers=Headers(list(exchange.answer_headers.items())),
        )
        refused = exchange.status in {400, 401, 403, 404, 422}
        for what, found in (
            ("request", () if refused else self.asked.iter_errors(request)),
            ("answer", self.answered.iter_errors(request, answer)),
        ):
            for error in found:
                left_out = isinstance(error.__cause__ or error, PathError | ResponseNotFound | MediaTypeNotFound)
                if not (self.partial and left_out):
                    cause = error.__cause__ or error
                    more = "; ".join(str(e.message) for e in getattr(cause, "schema_errors", ()))
                    yield f"{self.path.name}: {what} of {exchange.method} {exchange.url}: {cause!r} {more}"


@dataclass
class _Asked:
    host_url: str
    path: str
    method: str
    content_type: str
    body: bytes | None
    parameters: Any


@dataclass
class _Answered:
    data: bytes
    status_code: int
    content_type: str
    headers: Any


def descriptions(own: str, *theirs: str, gaps: Any = None) -> Sequence[Description]:
    """Our own description, and the provider's where the environment names a folder with them.

    ``gaps`` is called with each of the provider's, to add what it is known to leave out.
    """
    found = [_own(Path(__file__).resolve().parents[1] / "descriptions" / own)]
    folder = os.environ.get(SPECS) or _SPECS
    for given in (Path(folder, name) for name in theirs if folder):
        told = json.loads(given.read_text()) if given.suffix == ".json" else yaml.safe_load(given.read_text())
        if gaps:
            gaps(told)
        found.append(Description(given, told, partial=True))
    return found


@cache
def _own(path: Path) -> Description:
    """To read and to check it takes a quarter of a second, and each server of each test wants it."""
    return Description(path, yaml.safe_load(path.read_text()))


#: As the run found it: tests have an environment of their own.
_SPECS = os.environ.get(SPECS, "")
