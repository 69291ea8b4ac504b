"""What a line such as ``zenodo:4924875`` means; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import BadName
from ...registry.names import redact_url

__all__ = ["NEW", "Declared", "read_address", "read_zenodo"]

#: In place of a record's id: one that is yet to be made.
NEW = "new"
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_DOI = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s?#]+")
_RESOLVER = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)", re.IGNORECASE)
_PAGE = re.compile(r"/(?:records?|uploads|deposit)/([^/]+)(?:/.*)?")
_OWN_DOI = re.compile(r"10\.(?:5281|5072)/zenodo\.([1-9][0-9]*)", re.IGNORECASE)
_WEB = "if it has plain addresses of files, give their folder, https://.../"
#: DOI prefixes of others, with what they are and what to write instead.
_OTHERS = {
    "10.5281": ("Zenodo", "write zenodo:{doi}"),
    "10.6084": ("Figshare", "write figshare:{doi}"),
    "10.5061": ("Dryad", _WEB),
    "10.7910": ("Harvard Dataverse", _WEB),
    "10.17605": ("OSF", _WEB),
    "10.17632": ("Mendeley Data", _WEB),
    "10.17616": ("re3data", "it lists repositories and holds no files"),
    "10.1594": ("PANGAEA", _WEB),
    "10.26093": ("CDS", _WEB),
    "10.48550": ("arXiv", "it holds papers and no data files"),
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A record as a line of ``dataferry.toml`` declares it.

    Parameters
    ----------
    server : str
        Where the server is, with a slash at its end.
    record : str
        The id of a version of the record, or of all its versions together; empty for a new one.
    doi : str
        The DOI that was given and has to be that record's; empty where an id was given, or the id follows for sure.
    """

    server: str
    record: str
    doi: str = ""


def read_zenodo(spec: str, server: str) -> Declared:
    """Take a line for Zenodo or its sandbox apart.

    Parameters
    ----------
    spec : str
        The scheme and a record's number, a DOI, or the address of a page.
    server : str
        Where the server is.

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
    test = "sandbox." in server
    forms = f"{scheme}:4924875, {scheme}:10.{'5072' if test else '5281'}/zenodo.4924875, or {scheme}:new to publish"
    if rest == NEW:
        return Declared(server, "")
    if _NUMBER.fullmatch(rest):
        return Declared(server, rest)
    doi = _RESOLVER.sub("", rest)
    if found := _OWN_DOI.fullmatch(doi):
        if test != doi.startswith("10.5072"):
            right = "zenodo" if test else "zenodo-sandbox"
            raise BadName(f"{doi} is a DOI of the {'real' if test else 'test'} Zenodo: write {right}:{doi}")
        return Declared(server, found[1])
    if _DOI.fullmatch(doi):
        raise BadName(_other_doi(doi, "Zenodo"))
    if rest.startswith(("http://", "https://")):
        parts = urlsplit(rest)
        host = (parts.hostname or "").removeprefix("www.")
        page = _PAGE.fullmatch(parts.path)
        if host != urlsplit(server).hostname:
            raise BadName(f"{redact_url(rest)!r} is no page of {urlsplit(server).hostname}; write inveniordm:{rest}")
        if page and (page[1] == NEW or _NUMBER.fullmatch(page[1])):
            return Declared(server, "" if page[1] == NEW else page[1])
    raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")


def read_address(spec: str) -> Declared:
    """Take a line for any InvenioRDM apart.

    Parameters
    ----------
    spec : str
        ``inveniordm:https://host/`` and a record's id, the path of its page, or its DOI.

    Returns
    -------
    Declared
        What it says.

    Raises
    ------
    BadName
        If it is no such line, or a DOI of another kind; the message says what to write.
    """
    forms = "inveniordm:https://host/abcde-12345, or inveniordm:https://host/new to publish"
    url = spec.partition(":")[2]
    if any(c.isspace() or not c.isprintable() for c in url):
        raise BadName(f"{redact_url(spec)!r} is not of the form {forms}")
    if _DOI.fullmatch(_RESOLVER.sub("", url)):
        doi = _RESOLVER.sub("", url)
        if doi.partition("/")[0] in _OTHERS:
            raise BadName(_other_doi(doi, "a server that was named"))
        raise BadName(f"a DOI does not say which server has the record; write inveniordm:https://host/{doi}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadName(f"what stands behind inveniordm: is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise BadName(f"{redact_url(spec)!r} is not of the form {forms}")
    if parts.username is not None:
        raise BadName(f"{redact_url(spec)!r}: users and passwords do not belong into a declaration")
    server = f"{parts.scheme}://{parts.netloc}/"
    path = parts.path.strip("/").removeprefix("doi/")
    if _DOI.fullmatch(path):
        return _by_doi(server, path, forms)
    page = _PAGE.fullmatch(f"/{path}")
    record = page[1] if page else path
    if record == NEW:
        return Declared(server, "")
    if not _ID.fullmatch(record):
        raise BadName(f"{redact_url(spec)!r} names no record; write {forms}")
    return Declared(server, record)


def _by_doi(server: str, doi: str, forms: str) -> Declared:
    """A DOI ends with the id of its record, perhaps behind a word and a point; `Records.check_doi` sees whether."""
    suffix = doi.partition("/")[2]
    record = suffix.rpartition(".")[2].rpartition("/")[2]
    if not _ID.fullmatch(record):
        raise BadName(f"the DOI {doi} does not hold the id of a record; write {forms}")
    return Declared(server, record, doi.lower())


def _other_doi(doi: str, place: str) -> str:
    kind, remedy = _OTHERS.get(doi.partition("/")[0], ("", ""))
    if kind == place:
        return f"{doi} is no DOI of a record of {kind}: these are 10.5281/zenodo.<number>"
    if not kind:
        return (
            f"{doi} is not a DOI that {place} gave. If the record is there and keeps a DOI of its publisher, write the "
            "number in the address of its page"
        )
    return f"{doi} is a DOI of {kind} and not of {place}: {remedy.format(doi=doi)}"
