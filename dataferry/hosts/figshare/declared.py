"""What a line such as ``figshare:14763051`` or a DOI means; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ...errors import BadName
from ...registry.names import redact_url

__all__ = ["API", "Declared", "read_declaration"]

API = "https://api.figshare.com/v2/"
DOWNLOADS = "https://ndownloader.figshare.com/"

_ID = re.compile(r"([1-9][0-9]{0,17})(?:\.v([1-9][0-9]{0,5}))?")
_DOI = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s?#]+")
_OWN_DOI = re.compile(r"10\.6084/m9\.figshare\.([1-9][0-9]*)(?:\.v([1-9][0-9]*))?", re.IGNORECASE)
_VERSION = re.compile(r"\.v([1-9][0-9]*)$", re.IGNORECASE)
_PAGE = re.compile(r"/articles/(?:[^/]+/){0,2}([1-9][0-9]*)(?:/([1-9][0-9]*))?/?")
#: DOI prefixes of others, with what they are and what to write instead.
_OTHERS = {
    "10.5281": ("Zenodo", "write zenodo:{doi}"),
    "10.5061": ("Dryad", "give the files' own server, https://.../"),
    "10.17605": ("OSF", "give the files' own server, https://.../"),
    "10.7910": ("Harvard Dataverse", "give the files' own server, https://.../"),
    "10.17632": ("Mendeley Data", "give the files' own server, https://.../"),
    "10.1594": ("PANGAEA", "give the files' own server, https://.../"),
    "10.48550": ("arXiv", "it holds papers and no data files"),
}
_FORMS = "figshare:14763051, figshare:14763051.v2, figshare:10.6084/m9.figshare.14763051, or figshare:new to publish"


@dataclass(frozen=True, slots=True)
class Declared:
    """A Figshare article as a line of ``dataferry.toml`` declares it.

    Parameters
    ----------
    article : int or None
        Its id; None where the DOI has to be looked up, or for a new one.
    doi : str
        The DOI that has to be looked up, in lower case and without a version; else empty.
    version : int or None
        The version that is pinned.
    new : bool
        Whether it is yet to be made.
    api, downloads : str
        Base URLs with a slash at their end; `downloads` is empty where a server has no separate one.
    query : str
        What stood behind the ``?``, without it.
    """

    article: int | None
    doi: str
    version: int | None
    new: bool
    api: str
    downloads: str
    query: str

    def line(self, article: int) -> str:
        """The line for readers of an article at this server."""
        return f"figshare:{article}" + (f"?{self.query}" if self.query else "")

    def may_be_told(self, url: str) -> bool:
        """Whether a URL is at the interface's server or its download host, and so may see the token for it."""
        told, api = urlsplit(url), urlsplit(self.api)
        own = {api.netloc, f"ndownloader.{api.netloc.removeprefix('api.')}"}
        return told.scheme == api.scheme and told.netloc in own


def read_declaration(spec: str) -> Declared:
    """Take a line apart.

    Parameters
    ----------
    spec : str
        ``figshare:`` and an article id, a DOI or the address of the article's page; then perhaps ``?server=``.

    Returns
    -------
    Declared
        What it says.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind; the message says what to write.
    """
    scheme, _, rest = spec.partition(":")
    if scheme.lower() != "figshare" or any(c.isspace() or not c.isprintable() for c in rest):
        raise BadName(f"{redact_url(spec)!r} is not of the form {_FORMS}")
    rest, _, query = rest.partition("?")
    api, downloads = _servers(spec, query)
    found = _article(rest, spec)
    return Declared(*found, api, downloads, query)


def _article(rest: str, spec: str) -> tuple[int | None, str, int | None, bool]:
    if rest == "new":
        return None, "", None, True
    if found := _ID.fullmatch(rest):
        return int(found[1]), "", _number(found[2]), False
    if rest.startswith(("http://", "https://")) and "doi.org" not in urlsplit(rest).netloc:
        return _of_page(rest, spec)
    doi = re.sub(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)", "", rest, flags=re.IGNORECASE)
    if not _DOI.fullmatch(doi):
        raise BadName(f"{redact_url(spec)!r} names no article; write {_FORMS}")
    prefix, _, suffix = doi.lower().partition("/")
    if prefix in _OTHERS:
        kind, remedy = _OTHERS[prefix]
        raise BadName(f"{doi} is a DOI of {kind} and not of Figshare: {remedy.format(doi=doi)}")
    if re.search(r"(?:^|\.)c\.[0-9]+(?:\.v[0-9]+)?$", suffix):
        raise BadName(f"{doi} is a collection, which has no files itself: name one of its articles")
    if found := _OWN_DOI.fullmatch(doi):
        return int(found[1]), "", _number(found[2]), False
    pinned = _VERSION.search(suffix)
    plain = doi.lower()[: -len(pinned[0])] if pinned else doi.lower()
    return None, plain, _number(pinned[1]) if pinned else None, False


def _of_page(url: str, spec: str) -> tuple[int | None, str, int | None, bool]:
    path = urlsplit(url).path
    if path.startswith("/s/"):
        raise BadName(
            "this is a private link: who has it can see the files, nobody else, and only until it ends. "
            f"Publish the article and write {_FORMS}"
        )
    if path.startswith(("/collections/", "/projects/")):
        raise BadName(f"{redact_url(spec)!r} is no article, and only articles have files")
    found = _PAGE.search(path)
    if found is None:
        raise BadName(f"{redact_url(spec)!r} is no page of an article; write {_FORMS}")
    return int(found[1]), "", _number(found[2]), False


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _servers(spec: str, query: str) -> tuple[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := given.keys() - {"server", "downloads"}:
        raise BadName(f"{redact_url(spec)!r}: {min(unknown)!r} is not known; there are server= and downloads=")
    server = _base(given.get("server", API), spec)
    if "downloads" in given:
        return server, _base(given["downloads"], spec)
    host = urlsplit(server).netloc
    # each of Figshare's own installations, as its sandbox figsh.com, has both names
    apart = host.startswith("api.")
    return server, f"{urlsplit(server).scheme}://ndownloader.{host[4:]}/" if apart else ""


def _base(url: str, spec: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username is not None:
        raise BadName(f"{redact_url(spec)!r}: a server is an http or https URL without user, password and query")
    return url if url.endswith("/") else url + "/"
