"""One file by its own URL, whatever it is called there: ``https://host/x``, ``zenodo:1481190/x``, ``doi:...``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..download.source import Source
from ..errors import BadName
from ..hosts import make_host
from ..hosts.base import Host
from ..hosts.doi import file_of_doi
from ..registry.names import check_name, redact_url

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..registry.entry import Entry


def check_file_url(url: str) -> str:
    """Return the URL of a file if it can be one. Raises `BadName`."""
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise BadName(f"{url!r} is not a URL: it has no scheme, such as https://")
    if scheme.lower() not in {"http", "https"}:
        split_url(url)
        return url
    parts = urlsplit(url)
    if parts.fragment or "#" in url:
        raise BadName(f"{redact_url(url)!r} has a fragment, which servers never see; leave out what follows #")
    if "@" in parts.netloc:
        raise BadName(f"{redact_url(url)!r} contains a login; put it into ~/.netrc or [hosts] of config.toml")
    if not parts.hostname:
        raise BadName(f"{url!r} names no host")
    return url


def split_url(url: str) -> tuple[str, str]:
    """A host as in ``dataferry.toml`` and the file's name there. Raises `BadName`."""
    if url.startswith("doi:"):
        url = file_of_doi(url)
    bare, mark, options = url.partition("?")
    if bare.startswith(("http://", "https://")):
        base, slash, name = bare.rpartition("/")
        return base + slash, name + mark + options
    problem = BadName(f"{redact_url(url)!r} names no file: write {bare.partition(':')[0]}:.../NAME")
    # DOIs of Dataverse hold a slash themselves
    ends = re.finditer(r"\.git/|/(?:DVN|FK2)/\w+/", bare)
    starts = [match.end() for match in ends] or [match.end() for match in re.finditer("/", bare)]
    for start in starts:
        spec, name = bare[:start], bare[start:]
        if not name or spec.endswith("//"):
            continue
        for candidate in (spec, spec.rstrip("/")):
            try:
                make_host(candidate + mark + options)
            except BadName as error:
                problem = error
            else:
                return candidate + mark + options, check_name(name)
    raise problem


class FileHost(Host):
    """One file at a host."""

    def sources(self, name: str, entry: Entry | None) -> Sequence[Source]:
        """Where it is, if that is known without asking."""
        check_file_url(self.spec)
        if self.spec.startswith(("http://", "https://")):
            return [Source(self.spec, self.redacted)]
        host, there = self._host()
        return host.sources(there, None)

    def look_up(self, wanted: Mapping[str, Entry | None], settings: Settings) -> Mapping[str, Sequence[Source]]:
        """Where the host says it is."""
        if self.spec.startswith(("http://", "https://")):
            return {}
        host, there = self._host()
        found = host.look_up({there: None}, settings).get(there, ())
        return dict.fromkeys(wanted, found)

    def _host(self) -> tuple[Host, str]:
        spec, name = split_url(self.spec)
        return make_host(spec), name
