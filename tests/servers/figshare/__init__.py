"""A Figshare on loopback: interface, upload service, downloads by redirect to a storage with ranges."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pytest

from dataferry.testing import RangeServer

from ..described import Description, Exchange, descriptions
from ..stand_in import Handler, StandIn
from .answers import Answer, Refused, answer
from .articles import Account, Article, File

__all__ = ["Figshare", "figshare"]


@dataclass
class Fault:
    """What goes wrong with some requests."""

    method: str
    pattern: str
    status: int = 0  # this is answered instead
    wait: float | None = None  # with this Retry-After
    lost: bool = False  # it is done, and the connection is reset instead of an answer
    cut: int | None = None  # the connection is reset after so many bytes of the body
    skip: int = 0  # so many of them go well before
    left: int = 1
    when: Callable[[], object] | None = None  # is called first
    undone: bool = False  # the connection is reset then, and nothing is done


class Figshare(StandIn):
    """A site with accounts whose tokens are ``token-1``, ``token-2``... A context manager."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.accounts = {n: Account(n) for n in (1, 2)}
        self.articles: dict[int, Article] = {}
        self.files: dict[int, File] = {}
        self.stored: dict[str, bytes] = {}
        self.received: dict[str, int] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.forms = {"token", "bearer"}
        self.part_size = 64 * 1024
        self.most_files = 500
        self.slowness = 0  # how often a file is looked at before it is summed up
        self.lag = 0  # how often the old version is seen after a new one was published
        self.locks_for = 0.0  # seconds that an article is locked after publishing, and a part after a cut
        self.rate = 0  # questions a second
        self.challenge = False
        self.curated = False
        self.faults: list[Fault] = []
        self.violations: list[str] = []
        self._descriptions = _descriptions()
        self.storage = RangeServer(self.stored)
        self._numbers = 30000000
        self._lock = threading.RLock()
        self._times: list[float] = []

    def __enter__(self) -> Self:
        self.storage.start()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.storage.stop()

    def spec(self, article: object = "new") -> str:
        """The line for ``dataferry.toml``."""
        return f"figshare:{article}?server={self.url}v2/&downloads={self.url}ndownloader/"

    def number(self) -> int:
        with self._lock:
            self._numbers += 1
            return self._numbers

    def fault(self, method: str, pattern: str, **how: Any) -> Fault:
        """Let something go wrong with the next request for a path."""
        fault = Fault(method, pattern, **how)
        self.faults.append(fault)
        return fault

    def account(self, headers: Mapping[str, str]) -> int | None:
        """Whose token a request has."""
        form, _, secret = headers.get("authorization", "").partition(" ")
        number = secret.removeprefix("token-")
        known = form.lower() in self.forms and secret.startswith("token-") and number.isdigit()
        return int(number) if known and int(number) in self.accounts else None

    def attached(self, *, readable: bool = False) -> set[int]:
        """The files of all public versions."""
        versions = [v for article in self.articles.values() for v in article.versions]
        return {n for state, numbers in versions for n in numbers if not (readable and state.get("is_embargoed"))}

    def put(self, files: Mapping[str, bytes], owner: int = 2, *, public: bool = True, **state: Any) -> Article:
        """An article that somebody made otherwise; a name may have a folder."""
        import hashlib

        words = {"title": "Somebody's data", "description": "-", "tags": ["x"], "categories": [29800], "license": 1}
        article = Article(self.number(), owner, words | state)
        for name, data in files.items():
            folder, _, leaf = name.rpartition("/")
            file = File(self.number(), leaf, len(data), hashlib.md5(data).hexdigest(), self.part_size, folder)
            file.whole = data
            self.files[file.number] = file
            self.stored[f"{file.number}/{leaf}"] = data
            article.files.append(file.number)
        if public:
            article.versions.append((dict(article.draft), tuple(article.files)))
            article.doi = f"10.6084/m9.figshare.{article.number}"
        self.articles[article.number] = article
        return article

    def count(self, method: str, pattern: str) -> int:
        """How often something was asked and not refused."""
        return sum(m == method and bool(re.search(pattern, path)) and s < 400 for m, path, s in self.requests)

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._lock:
            now = time.monotonic()
            self._times = [at for at in self._times if at > now - 1.0]
            if self.rate and target.startswith("/v2/") and len(self._times) >= self.rate:
                return Answer(429, {"Retry-After": "1"})
            self._times.append(now)
            try:
                told = answer(self, method, target, headers, body)
            except Refused as refused:
                told = refused.answer
            self.requests.append((method, target, told.status))
            asked = {name.title(): value for name, value in headers.items()}
            exchange = Exchange(method, self.url[:-1] + target, asked, body, told.status, told.headers, told.body)
            self.violations += [
                wrong for description in self._descriptions for wrong in description.violations(exchange)
            ]
        return told

    def next_fault(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.left and fault.method == method and re.search(fault.pattern, target):
                    fault.skip -= 1
                    if fault.skip < 0:
                        fault.left -= 1
                        return fault
        return None


class _Handler(Handler):
    @property
    def figshare(self) -> Figshare:
        return self.server.stand_in  # type: ignore[no-any-return]

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        fault = self.figshare.next_fault(self.command, self.path)
        if fault is not None and fault.cut is not None:
            self.rfile.read(min(size, fault.cut))
            self._cut_part()
            self.reset()
            return
        body = self.rfile.read(size)
        if len(body) < size:
            self._cut_part()
            self.close_connection = True
            return
        if fault is not None and fault.when is not None:
            fault.when()
        if fault is not None and fault.undone:
            self._cut_part()
            self.reset()
            return
        if fault is not None and fault.status:
            headers = {"Retry-After": str(fault.wait)} if fault.wait is not None else {}
            told = Answer(fault.status, headers, b'{"message": "as the test wants it"}')
        else:
            told = self.figshare.reply(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        if fault is not None and fault.lost:
            self.reset()
            return
        self.send_whole(told.status, told.headers, told.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _cut_part(self) -> None:
        """A part whose upload is cut stays locked for a while."""
        if found := re.fullmatch(r"/upload/([^/]+)/(\d+)", self.path):
            for file in self.figshare.files.values():
                if file.token == found[1]:
                    file.locked[int(found[2]) - 1] = time.monotonic() + self.figshare.locks_for


@functools.cache
def _descriptions() -> Sequence[Description]:
    theirs = ("figshare/articles-flow.openapi.json", "figshare/uploads.openapi.json")
    return descriptions("figshare.yaml", *theirs, gaps=_fill_gaps)


def _fill_gaps(told: dict[str, Any]) -> None:
    told.pop("security", None)
    told["servers"] = [{"url": "/" if any(path.startswith("/upload/") for path in told["paths"]) else "/v2"}]
    for path, methods in list(told["paths"].items()):
        for method in methods.values():
            if isinstance(method, dict):
                method.pop("security", None)  # openapi-core knows OAuth2 only to warn of it
                method["responses"].get("205", {}).pop("content", None)  # such an answer has no body
        if "/versions/" in path or path.startswith("/file/download/"):
            del told["paths"][path]  # the interface has more than in 2024
        elif "put" in methods:
            methods.setdefault("patch", {**methods["put"], "operationId": f"patch {path}"})  # so says its text


@pytest.fixture
def figshare(need: Any) -> Iterator[Figshare]:
    """A Figshare; at the end, every request and answer must have been as the descriptions say."""
    need.module("openapi_core")
    with Figshare() as site:
        yield site
    assert not site.violations, "\n".join(dict.fromkeys(site.violations))
