"""A request: its body, its answer, and who asks."""

from __future__ import annotations

import json
import re
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

from ..described import Exchange
from ..stand_in import Handler
from .state import Refused, Repository, User

API, UPLOADS = "https://api.github.com", "https://uploads.github.com"


class Base(Handler):
    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.stand_in.now() if timestamp is None else timestamp, usegmt=True)


class Asked(Base):
    """One request to the API, to the place for uploads, or to the site itself."""

    def handle_any(self) -> None:
        github = self.server.stand_in
        self.github = github
        self.parts = urlsplit(self.path)
        self.query = {k: v[-1] for k, v in parse_qs(self.parts.query, keep_blank_values=True).items()}
        self.length = int(self.headers.get("Content-Length") or 0)
        self.left = self.length
        self.kept = b""
        self.extra: dict[str, str] = {}
        line = f"{self.command} {self.path}"
        with github.lock:
            github.log.append(line)
            rule = next((r for r in github.rules if r.times > 0 and re.match(r.pattern, line)), None)
            if rule:
                rule.times -= 1
        try:
            if rule and rule.act(self):
                return
            self.route()
        except Refused as refused:
            told = {"message": str(refused), "documentation_url": "https://docs.github.com/rest"}
            if refused.errors:
                told["errors"] = list(refused.errors)  # type: ignore[assignment]
            self.extra |= {key.replace("_", "-"): value for key, value in refused.headers.items()}
            self.reply(refused.status, told)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

    # -- bodies and answers ------------------------------------------------------------------------------------------

    def read(self, most: int = 1 << 30) -> bytes:
        """The body; raises ConnectionError where it ends early."""
        blocks = []
        while self.left and most > 0:
            block = self.rfile.read1(min(self.left, most, 1 << 16))  # type: ignore[attr-defined]
            if not block:
                raise ConnectionError("cut")
            blocks.append(block)
            self.left -= len(block)
            most -= len(block)
        data = b"".join(blocks)
        self.kept += data[: 1 << 16]
        return data

    def reply(self, status: int, told: object = None) -> None:
        try:
            self.read()  # what came with a request that is refused
        except OSError:
            self.close_connection = True
            return
        body = b"" if told is None else json.dumps(told).encode()
        head = {"Content-Length": str(len(body)), **self.extra}
        if told is not None:
            head["Content-Type"] = "application/json; charset=utf-8"
        if status == 204:
            del head["Content-Length"]
        self.send_response(status)
        for key, value in head.items():
            self.send_header(key, value)
        for prefix, base in (("/api/v3", API), ("/api/uploads", UPLOADS)):
            if self.path.startswith(prefix + "/"):
                url = base + self.path.removeprefix(prefix)
                exchange = Exchange(self.command, url, dict(self.headers), self.kept, status, head, body)
                with self.github.lock:
                    self.github.check(exchange)
        self.end_headers()
        self.wfile.write(body)

    # -- who asks ----------------------------------------------------------------------------------------------------

    @property
    def user(self) -> User | None:
        sent = self.headers.get("Authorization")
        if sent is None:
            return None
        user = self.github.users.get(sent.removeprefix("Bearer ").removeprefix("token "))
        if user is None:
            raise Refused(401, "Bad credentials")
        if user.scopes is not None:
            self.extra["X-OAuth-Scopes"] = ", ".join(user.scopes)
        return user

    def seen(self, owner: str, repo: str) -> Repository:
        found = self.github.repositories.get(f"{owner}/{repo}".lower())
        user = self.user
        if found is None:
            raise Refused(404, "Not Found")
        full = f"{found.owner}/{found.name}"
        if found.private:
            role = user is not None and full in user.push | user.sees
            if not role or (user.scopes is not None and "repo" not in user.scopes):  # type: ignore[union-attr]
                raise Refused(404, "Not Found")
        return found

    def may(self, repo: Repository) -> bool:
        """Whether the token may change the contents."""
        user, full = self.user, f"{repo.owner}/{repo.name}"
        if user is None or full not in user.push:
            return False
        if user.scopes is not None:
            return bool({"repo"} & set(user.scopes) or (not repo.private and "public_repo" in user.scopes))
        return user.contents == "write"

    def must(self, repo: Repository) -> User:
        user = self.user
        if user is None:
            raise Refused(401, "Requires authentication")
        if not self.may(repo):
            if user.scopes is not None:
                raise Refused(404, "Not Found")
            raise Refused(403, f"Resource not accessible by {'integration' if user.app else 'personal access token'}")
        return user
