"""The text of a release, from the ``[about]`` of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["release_text"]

_LONGEST_TITLE = 200
_LONGEST_BODY = 100_000


def release_text(about: Mapping[str, Any], tag: str, *, further: bool) -> tuple[str, str]:
    """What people read on the page of a release.

    Parameters
    ----------
    about : mapping of str to object
        ``title``, ``description``, ``authors``, ``license``, ``keywords``.
    tag : str
        The release's tag.
    further : bool
        Whether it holds only what another release has no room for.

    Returns
    -------
    (str, str)
        Title, and text in Markdown.
    """
    title = str(about.get("title") or "Data files")
    lines = [str(about["description"])] if about.get("description") else []
    authors = about.get("authors") or []
    if authors:
        lines.append("Authors: " + ", ".join(map(_person, [authors] if isinstance(authors, str) else authors)))
    for key in ("license", "keywords"):
        value = about.get(key)
        if value:
            said = value if isinstance(value, str) else ", ".join(map(str, value))
            lines.append(f"{key.capitalize()}: {said}")
    lines.append(
        "These are data files of a Python package, which gets them by "
        "itself. In the names of assets `+-` stands for the slash of a folder."
    )
    if further:
        title += " (more)"
        lines.append("This release holds what another one has no room for.")
    return f"{title[:_LONGEST_TITLE]} ({tag})"[:250], "\n\n".join(lines)[:_LONGEST_BODY]


def _person(author: object) -> str:
    if isinstance(author, Mapping):
        return str(author.get("name") or next(iter(author.values()), ""))
    return str(author)
