"""What `PackageData` says of its files: every step of the way to one, and how one arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..registry.entry import Entry
from ..registry.packages import distribution_metadata

#: Labels of `[project.urls]` that lead to people, best first; in lower case, without spaces.
_PAGES = ("issues", "issuetracker", "bugtracker", "bugs", "support", "homepage", "home", "source", "repository")


class Arrival(NamedTuple):
    """How a file was fetched.

    Parameters
    ----------
    source : str
        The URL, without credentials.
    moved_bytes : int
        Bytes that came over the network; fewer than the file's size if an interrupted download was resumed.
    seconds : float
        From its start to its end.
    """

    source: str
    moved_bytes: int
    seconds: float


class Step(NamedTuple):
    """One place in which a file may be.

    Parameters
    ----------
    kind : str
        ``"override"``, ``"folder"``, ``"package"``, ``"cache"`` or ``"host"``.
    place : str
        Path or URL, without credentials.
    origin : str
        What declares this place: a variable, a file, an argument.
    found : bool
        Whether the file is there.
    note : str
        What was found or checked.
    problem : str
        Why the file is not there, in a word for programs, see `~dataferry.errors.Failure`; empty where nobody looked.
    """

    kind: str
    place: str
    origin: str
    found: bool
    note: str
    problem: str = ""


class Where(NamedTuple):
    """Where a file is, and why there.

    Parameters
    ----------
    name : str
        The file's name.
    entry : Entry or None
        Its entry in the registry; None for a file that is not registered.
    path : str or None
        What `PackageData.get` would return without the network; None if it would download the file.
    steps : list of Step
        The places in their order.
    """

    name: str
    entry: Entry | None
    path: str | None
    steps: list[Step]

    def as_dict(self) -> dict[str, Any]:
        """The same in plain types, for JSON."""
        entry = self.entry
        return {
            "name": self.name,
            "registered": entry is not None,
            "size": None if entry is None else entry.size,
            "sha256": None if entry is None else entry.sha256,
            "path": self.path,
            "steps": [step._asdict() for step in self.steps],
        }

    @property
    def _known(self) -> str:
        if self.entry is None:
            return "not registered"
        size = "" if self.entry.size is None else f"{self.entry.size} bytes, "
        return f"{size}sha256 {self.entry.sha256[:12]}..."

    def __str__(self) -> str:
        width = max((len(step.note) for step in self.steps), default=0)
        lines = [f"{self.name} ({self._known})"]
        lines += [
            f"  {'->' if step.found else '  '} {step.kind:<8} {step.note:<{width}}  {step.place}  [{step.origin}]"
            for step in self.steps
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from ..registry.registry import html_table

        rows = [("", "kind", "found", "place", "origin")]
        rows += [("→" if step.found else "", step.kind, step.note, step.place, step.origin) for step in self.steps]
        return html_table(self.name, self._known, rows)


def contact_of(package: str, about: Mapping[str, Any]) -> str:
    """Where users of a package report a missing file: its page, else its authors; empty where neither is known."""
    found = distribution_metadata(package)
    if found is not None:
        lines = [line.partition(",") for line in found.get_all("Project-URL") or ()]
        pages = {label.strip().lower().replace(" ", "").replace("-", ""): url.strip() for label, _, url in lines}
        page = next((pages[label] for label in _PAGES if label in pages), found.get("Home-page"))
        if page:
            return str(page)
    authors = about.get("authors") or []
    authors = authors if isinstance(authors, list) else [authors]
    named = [author.get("name", "") if isinstance(author, Mapping) else str(author) for author in authors]
    email = found.get("Author-email") or found.get("Author") if found is not None else ""
    return ", ".join(filter(None, named)) or str(email or "")
