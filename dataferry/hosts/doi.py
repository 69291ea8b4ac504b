"""DOIs in declarations, and which archive gave them."""

from __future__ import annotations

import re

from ..errors import BadName

DOI = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s?#]*[^\s?#/]")
_RESOLVER = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)", re.IGNORECASE)
_WEB = "if it has plain addresses of files, give their folder, https://.../"
#: DOI prefixes: the archive, and what to write for it.
_PREFIXES = {
    "10.5281": ("Zenodo", "write zenodo:{doi}"),
    "10.6084": ("Figshare", "write figshare:{doi}"),
    "10.5061": ("Dryad", _WEB),
    "10.7910": ("Harvard Dataverse", "write dataverse:doi:{doi}"),
    "10.17605": ("OSF", _WEB),
    "10.17632": ("Mendeley Data", _WEB),
    "10.17616": ("re3data", "it lists repositories and has no files"),
    "10.1594": ("PANGAEA", _WEB),
    "10.26093": ("CDS", _WEB),
    "10.48550": ("arXiv", "it has papers and no data files"),
}
#: Archives whose DOIs hold the id of a record: what a slash and the name of a file may follow.
_RECORDS = (
    (re.compile(r"doi:10\.5281/zenodo\.(\d+)(?=/)"), "zenodo:{}"),
    (re.compile(r"doi:10\.6084/m9\.figshare\.(\d+(?:\.v\d+)?)(?=/)"), "figshare:{}"),
    (re.compile(r"(doi:10\.\d+/(?:DVN|FK2)/\w+)(?=/)"), "dataverse:{}"),
    (re.compile(r"(doi:10\.[\d.]+/.+)(?=/[^/]+\?(?:.*&)?server=)"), "dataverse:{}"),
)


def without_resolver(doi: str) -> str:
    """A DOI without ``https://doi.org/`` or ``doi:`` before it."""
    return _RESOLVER.sub("", doi)


def foreign_doi(doi: str, archive: str) -> BadName | None:
    """The error for a DOI that another archive gave; None where its prefix says nothing."""
    other, remedy = _PREFIXES.get(doi.partition("/")[0], (archive, ""))
    if other == archive:
        return None
    return BadName(f"{doi} is a DOI of {other} and not of {archive}: {remedy.format(doi=doi)}")


def file_of_doi(url: str) -> str:
    """``zenodo:1/a.fits`` for ``doi:10.5281/zenodo.1/a.fits``; raises `BadName` where the DOI names no record."""
    for pattern, spec in _RECORDS:
        if match := pattern.match(url):
            return spec.format(match[1]) + url[match.end() :]
    raise BadName(
        f"{url!r}: the DOI does not belong to Zenodo, Figshare or Harvard Dataverse, or no file name follows it; "
        "behind one of another Dataverse installation write ?server=https://..."
    )
