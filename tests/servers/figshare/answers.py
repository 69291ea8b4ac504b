"""What a Figshare answers: one method a question, with the traps of the real one."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from .articles import CATEGORIES, LICENSES, Article, File

if TYPE_CHECKING:
    from . import Figshare

__all__ = ["Answer", "Refused", "answer"]


class Answer(NamedTuple):
    """A status, headers and a body."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Refused(Exception):
    """A question that gets an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = told({"message": message, "code": status}, status)


def told(what: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(what).encode())


def answer(site: Figshare, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Answer one question; the site is locked meanwhile."""
    path, _, query = target.partition("?")
    for word, pattern, reply in _ROUTES:
        if word == method and (found := re.fullmatch(pattern, path)):
            who = site.account(headers)
            if path.startswith("/v2/account") and who is None:
                raise Refused(403, "Invalid token")
            asked = _Asked(site, headers, body, parse_qs(query), who)
            return reply(asked, *(int(v) if v.isdigit() else v for v in found.groups()))
    raise Refused(404, f"no {method} {path} here")


class _Asked(NamedTuple):
    site: Figshare
    headers: Mapping[str, str]
    body: bytes
    query: dict[str, list[str]]
    who: int | None

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def page(self, items: list[Any]) -> Answer:
        page, size = (int(self.query.get(key, [default])[0]) for key, default in (("page", "1"), ("page_size", "10")))
        return told(items[(page - 1) * size : page * size])

    def own(self, number: int) -> Article:
        article = self.site.articles.get(number)
        if article is None or article.owner != self.who:
            raise Refused(404, "Entity not found: article")
        return article

    def open(self, number: int) -> Article:
        """One that may be changed now."""
        article = self.own(number)
        if time.monotonic() < article.locked:
            raise Refused(423, "the article is locked: it is being processed")
        return article

    def files(self, numbers: Any, *, own: bool = False) -> list[dict[str, Any]]:
        attached = self.site.attached()
        found = [self.site.files[n] for n in numbers]
        return [file.told(self.site.url, own=own, attached=file.number in attached) for file in found]

    def public(self, number: int, version: int | None = None) -> tuple[dict[str, Any], tuple[int, ...], int, Article]:
        article = self.site.articles.get(number)
        if article is None or not article.versions:
            raise Refused(404, "Entity not found: article")
        last = len(article.versions)
        if version is None and article.lag > 0:
            article.lag -= 1
            last -= 1
        wanted = version or last
        if not 1 <= wanted <= last:
            raise Refused(404, "Entity not found: article version")
        return (*article.versions[wanted - 1], wanted, article)

    def details(self, number: int, version: int | None = None) -> Answer:
        state, numbers, which, article = self.public(number, version)
        hidden = state.get("is_embargoed")
        files = [] if hidden else self.files(numbers)
        known = article.told(self.site.url, files, state, which)
        folders = {str(n): f for n in numbers if (f := self.site.files[n].folder)}
        doi = f"{article.doi}.v{version}" if version else article.doi
        return told({**known, "doi": doi, "folder_structure": folders})


def _find_doi(asked: _Asked) -> Answer:
    doi = asked.query["doi"][0].lower()
    found = [a for a in asked.site.articles.values() if a.versions and a.doi.lower() == doi]
    return told([a.told(asked.site.url, [], a.versions[-1][0], len(a.versions)) for a in found])


def _public_files(asked: _Asked, number: int, version: int | None = None) -> Answer:
    state, numbers, _, _ = asked.public(number, version)
    return asked.page([] if state.get("is_embargoed") else asked.files(numbers))


def _account(asked: _Asked) -> Answer:
    mine = [a for a in asked.site.articles.values() if a.owner == asked.who]
    used = sum(asked.site.files[n].size for a in mine for n in a.files if n not in asked.site.attached())
    return told(asked.site.accounts[asked.who or 0].told(used))


def _own_articles(asked: _Asked) -> Answer:
    mine = [a for a in asked.site.articles.values() if a.owner == asked.who]
    return asked.page([a.told(asked.site.url, [], a.draft, len(a.versions)) for a in mine])


def _create(asked: _Asked) -> Answer:
    number = asked.site.number()
    asked.site.articles[number] = Article(number, asked.who or 0, asked.json())
    url = f"{asked.site.url}v2/account/articles/{number}"
    return told({"entity_id": number, "location": url, "warnings": []}, 201, Location=url)


def _own_article(asked: _Asked, number: int) -> Answer:
    article = asked.own(number)
    return told(article.told(asked.site.url, asked.files(article.files), article.draft, len(article.versions)))


def _change(asked: _Asked, number: int) -> Answer:
    asked.open(number).draft |= asked.json()
    return Answer(205)


def _own_files(asked: _Asked, number: int) -> Answer:
    article = asked.own(number)
    for each in article.files:
        asked.site.files[each].looks -= 1
    return asked.page(asked.files(article.files, own=True))


def _begin(asked: _Asked, number: int) -> Answer:
    article, new, account = asked.open(number), asked.json(), asked.site.accounts[asked.who or 0]
    if new["size"] > account.most:
        raise Refused(413, "File size limit exceeded")
    if len(article.files) >= asked.site.most_files:
        raise Refused(400, "Maximum number of files reached")
    file = File(asked.site.number(), new["name"], new["size"], new["md5"], asked.site.part_size)
    file.looks = asked.site.slowness
    asked.site.files[file.number] = file
    article.files.append(file.number)
    url = f"{asked.site.url}v2/account/articles/{number}/files/{file.number}"
    return told({"location": url}, 201, Location=url)


def _own_file(asked: _Asked, number: int, file: int) -> Answer:
    article = asked.own(number)
    if file not in article.files:
        raise Refused(404, "Entity not found: file")
    return told(asked.files([file], own=True)[0])


def _end(asked: _Asked, number: int, file: int) -> Answer:
    article = asked.open(number)
    if file not in article.files:
        raise Refused(404, "Entity not found: file")
    known = asked.site.files[file]
    if known.whole is not None:
        raise Refused(400, "the upload is completed already")
    if len(known.parts) < len(known.ranges()):
        raise Refused(400, "parts are missing")
    known.whole = b"".join(known.parts[at] for at in sorted(known.parts))
    asked.site.stored[f"{file}/{known.name}"] = known.whole
    return Answer(202)


def _forget(asked: _Asked, number: int, file: int) -> Answer:
    article = asked.open(number)
    if file not in article.files:
        raise Refused(404, "Entity not found: file")
    article.files.remove(file)
    return Answer(204)


def _reserve(asked: _Asked, number: int) -> Answer:
    article = asked.open(number)
    article.doi = f"10.6084/m9.figshare.{number}"
    return told({"doi": article.doi})


def _publish(asked: _Asked, number: int) -> Answer:
    article = asked.open(number)
    site, state = asked.site, dict(article.draft)
    if missing := [k for k in ("title", "description", "tags", "categories", "license") if not state.get(k)]:
        raise Refused(400, f"missing required fields: {', '.join(missing)}")
    if not article.files or any(not site.files[n].computed for n in article.files):
        raise Refused(400, "some files are missing, or still being processed")
    if site.curated:
        return told({"location": site.url}, 201, Location=site.url)
    article.doi = article.doi or f"10.6084/m9.figshare.{number}"
    new = (state, tuple(article.files))
    keys = ("title", "authors", "license")
    last = article.versions[-1] if article.versions else None
    if last is not None and last[1] == new[1] and all(last[0].get(k) == state.get(k) for k in keys):
        article.versions[-1] = new  # no new version for other metadata
        return told({"location": site.url}, 201, Location=site.url)
    article.versions.append(new)
    article.locked, article.lag = time.monotonic() + site.locks_for, site.lag
    return told({"location": f"{site.url}v2/articles/{number}"}, 201, Location=f"{site.url}v2/articles/{number}")


def _upload_of(asked: _Asked, token: str) -> File:
    file = next((f for f in asked.site.files.values() if f.token == str(token)), None)
    if file is None or not any(file.number in a.files for a in asked.site.articles.values()):
        raise Refused(404, "")
    return file


def _part(file: File, at: int) -> dict[str, Any]:
    start, end = file.ranges()[at]
    locked = time.monotonic() < file.locked.get(at, 0.0)
    status = "COMPLETE" if at in file.parts else "PENDING"
    return {"partNo": at + 1, "startOffset": start, "endOffset": end - 1, "status": status, "locked": locked}


def _upload(asked: _Asked, token: str) -> Answer:
    file = _upload_of(asked, token)
    status = "ABORTED" if file.aborted else ("COMPLETED" if file.whole is not None else "PENDING")
    parts = [_part(file, at) for at in range(len(file.ranges()))]
    known = {"token": file.token, "md5": file.md5, "size": file.size, "name": f"{file.number}/{file.name}"}
    return told({**known, "status": status, "parts": parts})


def _get_part(asked: _Asked, token: str, part: int) -> Answer:
    file = _upload_of(asked, token)
    if not 1 <= part <= len(file.ranges()):
        raise Refused(404, "")
    return told(_part(file, part - 1))


def _put_part(asked: _Asked, token: str, part: int) -> Answer:
    file, at = _upload_of(asked, token), part - 1
    if not 0 <= at < len(file.ranges()):
        raise Refused(404, "")
    if file.whole is not None or file.aborted or time.monotonic() < file.locked.get(at, 0.0):
        raise Refused(409, "")
    start, end = file.ranges()[at]
    if len(asked.body) != end - start:
        file.locked[at] = time.monotonic() + asked.site.locks_for
        raise Refused(500, "")
    asked.site.received[file.name] = asked.site.received.get(file.name, 0) + len(asked.body)
    file.parts[at] = asked.body
    return Answer(200)


def _download(asked: _Asked, number: int) -> Answer:
    file = asked.site.files.get(number)
    if file is None or file.whole is None:
        raise Refused(404, "Entity not found: file")
    owners = {a.owner for a in asked.site.articles.values() if number in a.files}
    if number not in asked.site.attached(readable=True) and asked.who not in owners:
        raise Refused(403, "you do not have permission to access this file")
    sign = hashlib.sha256(file.token.encode()).hexdigest()[:16]
    return Answer(302, {"Location": f"{asked.site.storage.url_of(f'{number}/{file.name}')}?X-Amz-Signature={sign}"})


def _ndownload(asked: _Asked, number: int) -> Answer:
    if asked.site.challenge:
        return Answer(202, {"x-amzn-waf-action": "challenge", "Content-Type": "text/html"})
    return _download(asked, number)


_ONE, _FILE = r"/v2/account/articles/(\d+)", r"/v2/account/articles/(\d+)/files/(\d+)"
_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/v2/articles", _find_doi),
    ("GET", r"/v2/articles/(\d+)", _Asked.details),
    ("GET", r"/v2/articles/(\d+)/files", _public_files),
    ("GET", r"/v2/articles/(\d+)/versions/(\d+)", _Asked.details),
    ("GET", r"/v2/articles/(\d+)/versions/(\d+)/files", _public_files),
    ("GET", r"/v2/(?:account/)?licenses", lambda asked: told(LICENSES)),
    ("GET", r"/v2/(?:account/)?categories", lambda asked: told(CATEGORIES)),
    ("GET", r"/v2/file/download/(\d+)", _download),
    ("GET", r"/ndownloader/files/(\d+)", _ndownload),
    ("GET", r"/v2/account", _account),
    ("GET", r"/v2/account/articles", _own_articles),
    ("POST", r"/v2/account/articles", _create),
    ("GET", _ONE, _own_article),
    ("PATCH", _ONE, _change),
    ("GET", _ONE + "/files", _own_files),
    ("POST", _ONE + "/files", _begin),
    ("GET", _FILE, _own_file),
    ("POST", _FILE, _end),
    ("DELETE", _FILE, _forget),
    ("POST", _ONE + "/reserve_doi", _reserve),
    ("POST", _ONE + "/publish", _publish),
    ("GET", r"/upload/([^/]+)", _upload),
    ("GET", r"/upload/([^/]+)/(\d+)", _get_part),
    ("PUT", r"/upload/([^/]+)/(\d+)", _put_part),
]
