"""Faults in the status: errors, empty answers, redirects, a server that fails for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..reply import Reply, http_date, page
from .base import Fault

if TYPE_CHECKING:
    from ..content import Content
    from ..reply import Asked

__all__ = ["Empty", "Flaky", "LoginPage", "RedirectLoop", "RedirectTo", "RedirectToLogin", "Status", "login_page"]

LOGIN = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in</title></head>
<body>
<h1>Sign in to continue</h1>
<form method="post" action="/login"><input name="user"><input name="password" type="password"></form>
</body>
</html>
"""


def login_page() -> Reply:
    """The page of a portal that wants a login: 200, HTML, no ETag, no ranges."""
    return page(200, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}, LOGIN)


@dataclass(frozen=True)
class Status(Fault):
    """The server answers with an error, for instance 403, 404, 408, 425, 429, 500 or 503.

    Parameters
    ----------
    code : int
        The status code. 408 closes the connection, as real servers do.
    retry_after : float, optional
        Seconds in ``Retry-After``.
    as_date : bool
        Write ``Retry-After`` as an HTTP date instead of a number (dates have whole seconds: it is rounded up).
    body : bytes, optional
        Another body than a short HTML page.
    """

    code: int = 503
    retry_after: float | None = None
    as_date: bool = False
    body: bytes | None = None

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        headers = {}
        if self.retry_after is not None:
            when = http_date(-(-(time.time() + self.retry_after) // 1)) if self.as_date else f"{self.retry_after:g}"
            headers["Retry-After"] = when
        return replace(page(self.code, headers, self.body), ending="close" if self.code == 408 else "keep")


@dataclass(frozen=True)
class Empty(Fault):
    """A success without a single byte: 202 of a portal that is still fetching from tape, or an empty 200.

    Parameters
    ----------
    code : int
        202 or 200.
    """

    code: int = 202

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return Reply(self.code, {"Content-Length": "0"})


@dataclass(frozen=True)
class LoginPage(Fault):
    """A login page in HTML with status 200 in place of the file, whatever range was asked for."""

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return login_page()


@dataclass(frozen=True)
class Flaky(Fault):
    """Another fault for the first requests of each path, and the right answer afterwards.

    Parameters
    ----------
    times : int
        How often each path fails.
    fault : Fault
        How it fails.
    """

    times: int = 1
    fault: Fault = Status(503)

    def ask(self, asked: Asked) -> Asked:
        return self.fault.ask(asked) if asked.times < self.times else asked

    def content(self, content: Content | None, asked: Asked) -> Content | None:
        return self.fault.content(content, asked) if asked.times < self.times else content

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return self.fault.reply(reply, asked) if asked.times < self.times else reply


@dataclass(frozen=True)
class RedirectTo(Fault):
    """A redirect to another address.

    Parameters
    ----------
    url : str
        The address; if it ends with a slash, the path that was asked for is added to it.
    code : int
        301, 302, 303, 307 or 308.
    """

    url: str
    code: int = 302

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        url = self.url + asked.target.removeprefix("/") if self.url.endswith("/") else self.url
        return page(self.code, {"Location": url})


@dataclass(frozen=True)
class RedirectLoop(Fault):
    """A redirect that never ends.

    Parameters
    ----------
    growing : bool
        Lead to a new address each time instead of to the same one.
    """

    growing: bool = False

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        path = asked.target.partition("?")[0]
        return page(302, {"Location": f"{path}?hop={asked.times + 1}" if self.growing else path})


@dataclass(frozen=True)
class RedirectToLogin(Fault):
    """A redirect to a login page, which then answers 200."""

    def reply(self, reply: Reply, asked: Asked) -> Reply:
        return page(302, {"Location": f"/login?next={asked.target}"})
