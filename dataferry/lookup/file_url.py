"""One file by its own URL, whatever it is called there: ``https://host/x``, ``zenodo:1481190/x``, ``doi:...``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..download.source import Source
from ..errors import BadName, Reason, TransferError
from ..hosts import make_host
from ..hosts.base import Host
from ..hosts.doi import file_of_doi
from ..registry.names import check_name, redact_url

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry

#: Their records hold slashes themselves: DOIs of an installation with a shoulder, such as 10.5683/SP2/, and tags.
_WITH_SLASHES = ("dataverse:", "github-release:")
#: How Dataverse makes the end of a DOI by default, and its usual shoulders, behind which an end may be anything.
_DATASET = re.compile(r"/(?:[A-Z0-9]{6}|(?:DVN|FK2)/\w+)$")


#: In a declaration; with a tag of many parts it may have some.
_MOST_SLASHES = 32


def check_file_url(url: str) -> str:
    """Return the URL of a file if it can be one. Raises `BadName`."""
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise BadName(f"{url!r} is not a URL: it has no scheme, such as https://")
    if scheme.lower() not in {"http", "https"}:
        split_url(url)
        return url
    try:
        parts = urlsplit(url)
    except ValueError as error:  # half an IPv6 address; its text may hold a password
        raise BadName(f"{redact_url(url)!r} is not a URL") from error
    if parts.fragment or "#" in url:
        raise BadName(f"{redact_url(url)!r} has a fragment, which servers never see; leave out what follows #")
    if "@" in parts.netloc:
        raise BadName(f"{redact_url(url)!r} contains a login; put it into ~/.netrc or [hosts] of config.toml")
    if not parts.hostname:
        raise BadName(f"{url!r} names no host")
    return url


def split_url(url: str) -> tuple[str, str]:
    """A host as in ``dataferry.toml`` and the file's name there, as is most likely. Raises `BadName`."""
    return _splits(url)[0]


def _splits(url: str) -> list[tuple[str, str]]:
    """Each host and name that a URL can mean, the likely one first."""
    if url.startswith("doi:"):
        url = file_of_doi(url)
    bare, mark, options = url.partition("?")
    if bare.startswith(("http://", "https://")):
        base, slash, name = bare.rpartition("/")
        return [(base + slash, name + mark + options)]
    problem = BadName(f"{redact_url(url)!r} names no file: write {bare.partition(':')[0]}:.../NAME")
    found: list[tuple[str, str]] = []
    ends = re.finditer(r"\.git/" if ".git/" in bare else "/", bare)
    for match in islice(ends, _MOST_SLASHES):
        spec, name = bare[: match.end()], bare[match.end() :]
        if not name or spec.endswith("//"):
            continue
        for candidate in (spec, spec.rstrip("/")):
            try:
                make_host(candidate + mark + options)
            except BadName as error:
                problem = error
            else:
                found.append((candidate + mark + options, check_name(name)))
                break
        if found and not bare.startswith(_WITH_SLASHES):
            break
    if not found:
        raise problem
    return sorted(found, key=lambda split: not _DATASET.search(split[0].partition("?")[0]))


class FileHost(Host):
    """One file at a host."""

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """Where it is, if that is known without asking."""
        check_file_url(self.spec)
        if self.spec.startswith(("http://", "https://")):
            return [Source(self.spec, self.redacted)]
        return [source for spec, name in _splits(self.spec) for source in make_host(spec).sources(name, None)]

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Where the host says it is; of several that the URL can mean the first that has it."""
        if self.spec.startswith(("http://", "https://")):
            return {}
        absent: list[TransferError] = []
        splits = _splits(self.spec)
        for spec, name in splits:
            try:
                found = make_host(spec).look_up({name: None}, settings).get(name, ())
            except TransferError as error:
                if error.kind != Reason.LIST:
                    raise
                absent.append(error)  # there is no such record
                continue
            if found:
                return dict.fromkeys(wanted, found)
        if len(absent) < len(splits):
            return {}
        reasons = "; ".join(error.reason for error in absent)
        raise TransferError(self.redacted, reasons, kind=Reason.LIST, final=True)
